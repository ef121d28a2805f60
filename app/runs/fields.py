"""Parameters as a person wrote them, and one clear sentence for each that does not hold."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.errors import FieldError
from app.i18n import N_
from labs.contract import LabError, Params
from labs.fields import allowed

Json = dict[str, Any]

TYPE_SENTENCES = {
    "int": N_("{title}: “{value}” is not a whole number."),
    "float": N_("{title}: “{value}” is not a number."),
    "finite_number": N_("{title}: “{value}” is not a finite number."),
    "bool": N_("{title}: “{value}” is neither true nor false."),
    "string": N_("{title}: “{value}” is not text."),
    "missing": N_("{title} is missing."),
}


def read_params(
    kind: type[Params], given: Mapping[str, Any]
) -> tuple[Params | None, list[FieldError]]:
    """Parse parameters; either they hold, or there is an error for each that does not."""
    try:
        return kind.model_validate(dict(given)), []
    except LabError as error:
        return None, [FieldError("", error.message, error.values)]
    except ValidationError as error:
        return None, [_told(kind, each) for each in error.errors(include_url=False)]


def _told(kind: type[Params], error: Any) -> FieldError:
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return _unknown(kind, name)
    field = kind.model_fields.get(name)
    values: Json = {
        "title": field.title or name if field else name,
        "value": _short(error["input"]),
    }
    context = error.get("ctx", {})
    if field and error["type"] in (
        "greater_than_equal",
        "less_than_equal",
        "greater_than",
        "less_than",
    ):
        return FieldError(name, *_out_of_range(kind, name, values))
    if error["type"] in ("literal_error", "enum"):
        values["choices"] = context.get("expected", "").replace("'", "")
        return FieldError(name, N_("{title}: “{value}” is not one of: {choices}."), values)
    for prefix, sentence in TYPE_SENTENCES.items():
        if error["type"].startswith(prefix):
            return FieldError(name, sentence, values)
    if (own := context.get("error")) is not None:
        return _rule(name, own)
    told = N_("{title}: “{value}” does not fit; allowed is {allowed}.")
    return FieldError(name, told, {**values, "allowed": allowed(kind, name)})


def _rule(name: str, error: Exception) -> FieldError:
    """A validator's own sentence: of a `LabError`, or of a `ValueError` without its full stop."""
    if isinstance(error, LabError):
        return FieldError(name, error.message, error.values)
    text = str(error).rstrip(".")
    return FieldError(name, "{reason}", {"reason": f"{text[:1].upper()}{text[1:]}."})


def _unknown(kind: type[Params], name: str) -> FieldError:
    near = difflib.get_close_matches(name, kind.model_fields, n=3)
    if near:
        told = N_("This lab has no parameter “{name}”. Did you mean: {near}?")
        return FieldError(name, told, {"name": _short(name), "near": ", ".join(near)})
    return FieldError(name, N_("This lab has no parameter “{name}”."), {"name": _short(name)})


def _out_of_range(kind: type[Params], name: str, values: Json) -> tuple[str, Json]:
    """Which sentence says the whole range, whichever end of it was missed."""
    bounds = {
        name: getattr(part, name)
        for part in kind.model_fields[name].metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(part, name, None) is not None
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    values = {**values, "low": low, "high": high}
    if low is None and high is None:  # stated in a part of the type, not on the field itself
        told = N_("{title}: “{value}” does not fit; allowed is {allowed}.")
        return told, {**values, "allowed": allowed(kind, name)}
    if low is None:
        return N_("{title}: {value} does not fit: allowed is at most {high}."), values
    if high is None:
        return N_("{title}: {value} does not fit: allowed is {low} or more."), values
    if "gt" in bounds:
        return N_("{title}: {value} does not fit: allowed is above {low}, up to {high}."), values
    return N_("{title}: {value} does not fit: allowed is {low} to {high}."), values


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
