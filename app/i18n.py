"""Languages: which one a request speaks, and the sentences in it.

English sentences are the keys. Catalogues are `app/locale/<language>/LC_MESSAGES/bunsen.po`,
read at first use, so a fresh clone needs no compile step.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_datetime
from babel.messages.pofile import read_po
from babel.numbers import NumberPattern, parse_pattern

LOCALE_DIR = Path(__file__).parent / "locale"
SOURCE = "en"
LANGUAGES = {"en": "English", "zh-Hant": "繁體中文"}
TRADITIONAL = {"zh", "zh-hant", "zh-tw", "zh-hk", "zh-mo"}

# Decimal numbers of more digits are refused by Babel, and read by nobody.
MOST_WRITTEN_OUT = 1e18

_language: ContextVar[str] = ContextVar("language", default=SOURCE)


def N_(sentence: str) -> str:
    """Mark a sentence for the catalogue without translating it here."""
    return sentence


@cache
def catalogue(language: str) -> Mapping[str, tuple[str, ...]]:
    """English sentence to its translation, in each of its plural forms."""
    if language == SOURCE:
        return {}
    folder = language.replace("-", "_")
    path = LOCALE_DIR / folder / "LC_MESSAGES" / "bunsen.po"
    with path.open("rb") as file:
        messages = read_po(file, locale=folder)
    return {
        _forms(message.id)[0]: _forms(message.string)
        for message in messages
        if message.id and message.string and not message.fuzzy
    }


def _forms(text: str | Sequence[str]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def use_language(language: str) -> None:
    """Speak this language for the rest of the current request or command."""
    _language.set(language if language in LANGUAGES else SOURCE)


def language() -> str:
    """The language of the current request."""
    return _language.get()


def gettext(sentence: str) -> str:
    """The sentence in the current language; itself where no translation exists."""
    return catalogue(_language.get()).get(sentence, (sentence,))[0]


def ngettext(singular: str, plural: str, count: int) -> str:
    """The form for `count`; Chinese has one form for all counts."""
    found = catalogue(_language.get()).get(singular)
    if found is None:
        return singular if count == 1 else plural
    return found[0]


_ = gettext


def sentence(message: str, values: Mapping[str, Any] | None = None) -> str:
    """Translate a template and fill in its values (errors and reasons are stored so)."""
    return gettext(message).format(**fillings(values or {}, hour))


def fillings(values: Mapping[str, Any], show: Callable[[datetime], str]) -> dict[str, Any]:
    """The values of a stored sentence as they are put into it.

    One named `reason` may be a sentence of ours itself, so it is looked up as well. An instant
    is stored as {"at": ISO 8601}.
    """
    filled = dict(values)
    if isinstance(filled.get("reason"), str):
        filled["reason"] = gettext(filled["reason"])
    for name, value in values.items():
        if isinstance(value, dict) and "at" in value:
            filled[name] = show(datetime.fromisoformat(value["at"]))
    return filled


def hour(value: datetime) -> str:
    """The time of day, where no script can put it into the reader's zone."""
    return f"{value.astimezone(UTC):%H:%M} UTC"


def told(reason: Mapping[str, Any] | None) -> str:
    """The sentence of a stored reason {"message": template, "values": {...}}."""
    return sentence(reason["message"], reason.get("values")) if reason else ""


def choose(cookie: str | None, saved: str | None, accept_language: str) -> str:
    """The person's own choice, else their account's, else the browser's first that we have."""
    for chosen in (cookie, saved):
        if chosen in LANGUAGES:
            return chosen
    return _from_header(accept_language)


def _from_header(header: str) -> str:
    ranked = []
    for order, part in enumerate(header.split(",")[:20]):
        tag, _sep, rest = part.strip().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{1,3})?)\s*", rest) if rest else None
        ranked.append((-float(weight[1]) if weight else -1.0, order, tag.strip().lower()))
    for negative, _order, tag in sorted(ranked):
        if negative == 0:
            continue
        if tag in TRADITIONAL or tag.startswith("zh-hant"):
            return "zh-Hant"
        if tag == "en" or tag.startswith("en-"):
            return "en"
    return SOURCE


def locale() -> Locale:
    """Babel's locale of the current language, for numbers and dates."""
    return _locale(language())


# Babel reads names of places and patterns anew each time, for longer than it applies them.
@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language.replace("-", "_") + ("_TW" if language != SOURCE else ""))


@cache
def _pattern(digits: int) -> NumberPattern:
    return parse_pattern("#,##0" + ("." + "#" * digits if digits else ""))


def number(value: float, digits: int = 0) -> str:
    """A number in the current language's form."""
    return _number(value, digits, language())


# A page says the same few numbers again and again; Babel takes a tenth of a millisecond for each.
@lru_cache(maxsize=4096)
def _number(value: float, digits: int, language: str) -> str:
    if abs(value) >= MOST_WRITTEN_OUT:
        return f"{value:.3e}"
    return str(_pattern(digits).apply(value, _locale(language)))


def moment(value: datetime) -> str:
    """An instant in words; always UTC here, the browser shows local time over it."""
    return str(format_datetime(value, "medium", locale=locale())) + " UTC"


class JinjaTranslations:
    """What Jinja's i18n extension asks for; escaping stays with the template."""

    @staticmethod
    def gettext(text: str) -> str:
        return gettext(text)

    @staticmethod
    def ngettext(singular: str, plural: str, count: int) -> str:
        return ngettext(singular, plural, count)
