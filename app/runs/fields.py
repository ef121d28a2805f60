"""Parameters as a person wrote them, and one clear sentence for each that does not hold."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app import invalid
from app.errors import FieldError
from app.i18n import N_, gettext
from app.invalid import short
from labs.contract import LabError, Params

Json = dict[str, Any]

RANGES = {
    frozenset({"ge", "le"}): N_("{title}: {value} does not fit: allowed is {ge} to {le}."),
    frozenset({"gt", "le"}): N_(
        "{title}: {value} does not fit: allowed is above {gt}, up to {le}."
    ),
    frozenset({"ge", "lt"}): N_("{title}: {value} does not fit: allowed is {ge} to below {lt}."),
    frozenset({"gt", "lt"}): N_(
        "{title}: {value} does not fit: allowed is above {gt}, below {lt}."
    ),
}
OUT_OF_RANGE = ("greater_than_equal", "less_than_equal", "greater_than", "less_than")


def read_params(
    kind: type[Params], given: Mapping[str, Any]
) -> tuple[Params | None, list[FieldError]]:
    """Parse parameters; either they hold, or there is an error for each that does not."""
    if unstorable := [name for name, value in given.items() if not _is_storable(value)]:
        told = N_("A text holds a NUL character or half a surrogate pair.")
        return None, [FieldError(name, told) for name in unstorable]
    try:
        return kind.model_validate(dict(given)), []
    except LabError as error:
        return None, [FieldError("", error.message, error.values)]
    except ValidationError as error:
        return None, [_told(kind, each) for each in error.errors(include_url=False)]


def _is_storable(value: Any) -> bool:
    """Whether a database takes it: text without what no database keeps."""
    if isinstance(value, list | tuple):
        return all(_is_storable(each) for each in value)
    return not isinstance(value, str) or not any(
        letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value
    )


def rule_sentence(text: str) -> str:
    """A rule that a validator states, as a whole sentence."""
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _told(kind: type[Params], error: Any) -> FieldError:
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return _unknown(kind, name)
    if (own := error.get("ctx", {}).get("error")) is not None:
        return _rule(name, own)
    field = kind.model_fields.get(name)
    title = gettext(field.title or name) if field else name
    message, values = invalid.told(error, title)
    if error["type"] in OUT_OF_RANGE:
        message, values = _out_of_range(kind, name, message, values)
    return FieldError(name, message, values)


def _rule(name: str, error: Exception) -> FieldError:
    """A validator's own sentence: of a `LabError`, or of a `ValueError`."""
    if isinstance(error, LabError):
        return FieldError(name, error.message, error.values)
    return FieldError(name, "{reason}", {"reason": rule_sentence(str(error))})


def _unknown(kind: type[Params], name: str) -> FieldError:
    near = difflib.get_close_matches(name, kind.model_fields, n=3)
    if near:
        told = N_("This lab has no parameter “{name}”. Did you mean: {near}?")
        return FieldError(name, told, {"name": short(name), "near": ", ".join(near)})
    return FieldError(name, N_("This lab has no parameter “{name}”."), {"name": short(name)})


def _out_of_range(kind: type[Params], name: str, message: str, values: Json) -> tuple[str, Json]:
    """Which sentence says the whole range, whichever end of it was missed."""
    bounds = {
        name: getattr(part, name)
        for part in kind.model_fields[name].metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(part, name, None) is not None
    }
    values = {**values, **bounds}
    for ends, told in RANGES.items():
        if ends <= set(bounds):
            return told, values
    return message, values
