"""What pydantic finds wrong with an input, in sentences of ours that can be translated."""

from collections.abc import Mapping
from typing import Any

from app.i18n import N_, sentence

# By the beginning of pydantic's name for it; the first that fits is said.
SENTENCES: Mapping[str, str] = {
    "missing": N_("{title} is missing."),
    "int": N_("{title}: “{value}” is not a whole number."),
    "float": N_("{title}: “{value}” is not a number."),
    "decimal": N_("{title}: “{value}” is not a number."),
    "finite_number": N_("{title}: “{value}” is not a finite number."),
    "bool": N_("{title}: “{value}” is neither true nor false."),
    "string_too_short": N_("{title}: at least {min_length} characters are needed."),
    "string_too_long": N_("{title}: at most {max_length} characters are allowed."),
    "string": N_("{title}: “{value}” is not text."),
    "too_short": N_("{title}: too few; at least {min_length}."),
    "too_long": N_("{title}: too many; at most {max_length}."),
    "greater_than_equal": N_("{title}: {value} does not fit: allowed is {ge} or more."),
    "greater_than": N_("{title}: {value} does not fit: allowed is above {gt}."),
    "less_than_equal": N_("{title}: {value} does not fit: allowed is at most {le}."),
    "less_than": N_("{title}: {value} does not fit: allowed is below {lt}."),
    "literal_error": N_("{title}: “{value}” is not one of: {choices}."),
    "enum": N_("{title}: “{value}” is not one of: {choices}."),
    "list": N_("{title}: “{value}” is not a list."),
    "tuple": N_("{title}: “{value}” is not a list."),
    "dict": N_("{title}: “{value}” is not an object."),
    "model": N_("{title}: “{value}” is not an object."),
    "uuid": N_("{title}: “{value}” is not an id."),
    "date": N_("{title}: “{value}” is not a date with a time."),
    "json": N_("The body is not valid JSON."),
    "extra_forbidden": N_("There is no field “{title}” here."),
}
OTHERWISE = N_("{title}: “{value}” does not fit.")
LONGEST = 80


def told(error: Mapping[str, Any], title: str) -> tuple[str, dict[str, Any]]:
    """The sentence for one of pydantic's errors, as a template with its values."""
    kind: str = error["type"]
    message = next((s for prefix, s in SENTENCES.items() if kind.startswith(prefix)), OTHERWISE)
    values = {"title": title, "value": short(error["input"]), **_limits(error.get("ctx", {}))}
    return message, values


def short(value: Any) -> str:
    """A value as a sentence may quote it."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _limits(context: Mapping[str, Any]) -> dict[str, Any]:
    """Bounds as they are; the choices that pydantic lists, with our own word for “or”."""
    expected = str(context.get("expected", "")).replace("'", "")
    first, _or, last = expected.rpartition(" or ")
    choices = sentence(N_("{first} or {last}"), {"first": first, "last": last}) if first else last
    limits = {name: value for name, value in context.items() if isinstance(value, int | float)}
    return {**limits, "choices": choices}
