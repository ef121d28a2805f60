"""Every sentence a person can see exists in both languages."""

import ast
import re
from string import Formatter

import pytest

from app import i18n
from app.runs.causes import CAUSES
from app.settings import ROOT
from labs.contract import Cause
from tests.support.sentences import PYTHON_KEYWORDS, left_over, missing


def test_every_sentence_is_translated() -> None:
    assert missing() == {}


def test_no_translation_is_left_over() -> None:
    assert left_over() == []


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
