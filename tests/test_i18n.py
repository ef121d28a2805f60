"""Every sentence a person can see exists in both languages."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from string import Formatter

import pytest

from app import html, i18n
from app.runs.causes import CAUSES
from app.runs.fields import read_params
from app.runs.reasons import instant, reason_of
from app.settings import ROOT
from labs.contract import Cause
from labs.peft.lora.spec import LAB
from tests.support.sentences import errors, left_over, missing


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    i18n.use_language("en")


def test_every_sentence_is_translated() -> None:
    assert missing() == {}


def test_no_translation_is_left_over() -> None:
    assert left_over() == []


def test_an_instant_in_a_stored_sentence_is_shown_as_one() -> None:
    noon = datetime(2026, 3, 2, 20, tzinfo=timezone(timedelta(hours=8)))
    reason = reason_of("<{name}> until {until}.", name="<b>", until=instant(noon))
    assert json.loads(json.dumps(reason)) == reason
    assert i18n.told(reason) == "<<b>> until 12:00 UTC."
    assert html.told(reason) == (
        '&lt;&lt;b&gt;&gt; until <time datetime="2026-03-02T12:00:00+00:00">12:00 UTC</time>.'
    )


def fields_of(text: str) -> set[str]:
    brace = {name for _lit, name, _spec, _conv in Formatter().parse(text) if name}
    return brace | set(re.findall(r"%\((\w+)\)", text))


def test_translations_keep_the_values_of_their_sentence() -> None:
    for sentence, forms in i18n.catalogue("zh-Hant").items():
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
    assert {(file, text) for file, text in bare if text != "Bunsen"} == set()


def test_sentences_of_errors_are_extracted_whatever_their_class(tmp_path: Path) -> None:
    code = """
class Full(LabError): ...
class Fuller(disk.Full): ...
raise Fuller("No {room} is left.", room=3)
"""
    file = tmp_path / "code.py"
    file.write_text(code, encoding="utf-8")
    assert errors([file]) >= {"Full", "Fuller"}


def test_what_pydantic_finds_wrong_is_said_in_chinese() -> None:
    i18n.use_language("zh-Hant")
    given = {"steps": 0, "rank": "many", "variant": "x", "target_modules": "all-linear q_proj"}
    _params, errors = read_params(LAB.params, given)
    told = {error.field: i18n.sentence(error.message, error.values) for error in errors}
    assert told == {
        "steps": "步數：0 不符，允許範圍為 1 到 100000。",
        "rank": "秩 r（rank）：「many」不是整數。",
        "variant": "變體：「x」不在選項之中：lora, rslora 或 dora。",
        "target_modules": "all-linear 已代表所有矩陣，請單獨使用。",
    }
