"""Theory as HTML: formulas become MathML, markup in text stays text."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from app.catalogue.mathml import mathml
from app.catalogue.theory import rendered, theory
from labs import registry

FORMULAS = [
    r"h = Wx + \frac{\alpha}{r} BAx",
    r"W \in \mathbb{R}^{d \times k}",
    r"-\frac{1}{T} \sum_{t=1}^{T} \log p_\theta(y_t \mid x, y_{<t})",
    r"\left\| \hat{W}X - WX \right\|_F^2 \le \epsilon",
    r"\text{rank of } BA \ge 2 \%, \quad \sqrt{d_k}, \operatorname{softmax}(x)'",
    r"\frac{1}{", r"}{", r"^", r"\unknown{x}", r"", r"\left\{ x \right.",
]  # fmt: skip


def texts(formula: str) -> str:
    return "".join(ET.fromstring(mathml(formula)).itertext())


@pytest.mark.parametrize("formula", FORMULAS)
def test_any_formula_gives_well_formed_mathml(formula: str) -> None:
    ET.fromstring(mathml(formula))


def test_scripts_fractions_and_letters_stand_where_they_belong() -> None:
    assert "<mfrac><mrow><mi>α</mi></mrow><mrow><mi>r</mi></mrow></mfrac>" in mathml(
        r"\frac{\alpha}{r}"
    )
    assert "<msubsup><mi>W</mi><mi>F</mi><mn>2</mn></msubsup>" in mathml("W_F^2")
    assert "<munderover><mo>∑</mo>" in mathml(r"\sum_{t=1}^{T} t")
    assert "ℝ" in texts(r"\mathbb{R}")
    assert "rank of " in texts(r"\text{rank of } x")


def test_a_formula_cannot_bring_markup_along() -> None:
    assert "<script>" not in mathml(r"a < \text{<script>alert(1)</script>}")


def test_raw_html_in_theory_is_shown_as_text(tmp_path: Path) -> None:
    file = tmp_path / "theory.md"
    file.write_text("# Title\n\n**bold** <b onclick=x> costs $5 and $x^2$", encoding="utf-8")
    text = rendered(file)
    assert "Title" not in text
    assert "<strong>bold</strong>" in text
    assert "&lt;b onclick=x&gt;" in text


def test_a_lab_without_theory_in_a_language_has_it_in_english() -> None:
    lab = registry.get("lora")
    assert theory(lab, "zh-Hant") or not theory(lab, "en")
