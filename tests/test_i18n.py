"""Every sentence a person can see exists in both languages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.extract import extract_from_dir

from app import i18n
from app.settings import ROOT
from labs.contract import Cause, Lab
from labs.registry import all_labs

PYTHON_KEYWORDS = {
    "_": None, "N_": None, "gettext": None, "ngettext": (1, 2), "LabError": None, "BadData": None,
    "Diverged": None, "ModelRefused": None, "Problem": (2,), "InvalidInput": (2,),
    "NotFound": None, "Forbidden": None, "Conflict": None, "TooLarge": None, "TooMany": None,
    "Unavailable": None, "MissingHere": None, "AppError": None, "FieldError": (2,),
}  # fmt: skip
METHODS = [
    ("app/**.py", "python"),
    ("labs/**.py", "python"),
    ("workers/**.py", "python"),
    ("templates/**.html", "jinja2.ext:babel_extract"),
]


def extracted() -> Iterator[tuple[str, str]]:
    """Each sentence in code and templates, with the place it stands."""
    found = extract_from_dir(
        ROOT,
        method_map=METHODS,
        options_map={"templates/**.html": {"trimmed": "true", "newstyle_gettext": "true"}},
        keywords=PYTHON_KEYWORDS,
        directory_filter=lambda folder: Path(folder).name not in {".venv", "node_modules", "data"},
    )
    for path, line, message, _comments, _context in found:
        yield (message[0] if isinstance(message, tuple) else message), f"{path}:{line}"


def of_lab(lab: Lab) -> Iterator[str]:
    """The sentences of a lab's spec, which pages translate when they show them."""
    yield from (lab.title, lab.summary, *lab.presets)
    for stage in lab.stages:
        yield from (stage.title, stage.summary)
    for metric in lab.metrics:
        yield from (metric.title, metric.unit)
    for field in lab.params.model_fields.values():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield from (field.title or "", field.description or "", str(extra.get("unit") or ""))


def needed() -> dict[str, str]:
    sentences = dict(extracted())
    for lab in all_labs():
        sentences |= {sentence: f"spec of {lab.slug}" for sentence in of_lab(lab)}
    return {s: place for s, place in sentences.items() if re.search(r"[A-Za-z]{2}", s)}


def test_every_sentence_is_translated() -> None:
    have = i18n.catalogue("zh-Hant")
    missing = {s: place for s, place in sorted(needed().items()) if s not in have}
    assert missing == {}


def test_no_translation_is_left_over() -> None:
    assert sorted(set(i18n.catalogue("zh-Hant")) - set(needed())) == []


def fields_of(text: str) -> set[str]:
    brace = {name for _lit, name, _spec, _conv in Formatter().parse(text) if name}
    return brace | set(re.findall(r"%\((\w+)\)", text))


def test_translations_keep_the_values_of_their_sentence() -> None:
    for sentence, translation in i18n.catalogue("zh-Hant").items():
        forms = [translation] if isinstance(translation, str) else translation
        assert {frozenset(fields_of(form)) for form in forms} == {frozenset(fields_of(sentence))}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh-Hant"),
        ("en-GB,zh-TW;q=0.9", "en"),
        ("de,zh-Hant-TW;q=0.3,en;q=0.2", "zh-Hant"),
        ("zh-CN", "en"),
        ("zh-TW;q=0,en;q=0.1", "en"),
        ("", "en"),
        (";;;q=,,q=9", "en"),
    ],
)
def test_the_browsers_first_language_that_we_have_is_spoken(header: str, expected: str) -> None:
    assert i18n.choose(None, None, header) == expected


def test_a_persons_own_choice_wins() -> None:
    assert i18n.choose("en", "zh-Hant", "zh-TW") == "en"
    assert i18n.choose("xx", "zh-Hant", "en") == "zh-Hant"


def test_every_cause_has_its_sentence() -> None:
    """`app.runs.causes` tells a person what each end means; none may be without words."""
    from app.runs.causes import CAUSES

    assert set(CAUSES) == set(Cause)


def test_templates_hold_no_bare_sentence_in_attributes() -> None:
    """Placeholders, labels and titles are read by people too."""
    pattern = re.compile(r'(?:placeholder|aria-label|title|alt)="([^"{]*[A-Za-z]{3}[^"{]*)"')
    bare = {
        (str(path.relative_to(ROOT)), match)
        for path in (ROOT / "templates").rglob("*.html")
        for match in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert bare == set()


def test_python_keywords_are_the_names_of_our_errors() -> None:
    """An error class that the extraction does not know would never be translated."""
    tree = ast.parse((ROOT / "app/errors.py").read_text(encoding="utf-8"))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert classes - set(PYTHON_KEYWORDS) <= {"NotSignedIn"}
