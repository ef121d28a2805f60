"""Values of each parameter that are worth a try, so that nobody starts from an empty line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.forms import Field, Values, as_text, param_fields
from app.sweeps.values import is_whole, refusal
from labs.contract import Lab

# What a first sweep mostly varies, where the lab has it.
FIRST = "learning_rate"
WHOLE_FACTORS = (0.25, 0.5, 1, 2, 4)
FACTORS = (0.1, 0.3, 1, 3, 10)
FROM_NOTHING = (0, 0.05, 0.1, 0.2)
WHOLE_FROM_NOTHING = (0, 1, 2, 4)
UNSET = (0.5, 1, 2, 4)
WHOLE_UNSET = (10, 20, 40, 80)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the form offers for a parameter: values, or the ends of a range, and what it may be."""

    title: str
    values: str
    hint: str
    is_number: bool
    low: str = ""
    high: str = ""


def suggestions(lab: Lab, texts: Mapping[str, str]) -> dict[str, Suggestion]:
    """Of every parameter of the lab, around the values of the form; the usual one comes first."""
    fields = param_fields(lab.params, Values(texts))
    ordered = sorted(fields, key=lambda each: (each.name != FIRST, not each.basic))
    return {each.name: _suggestion(lab, each) for each in ordered}


def _suggestion(lab: Lab, field: Field) -> Suggestion:
    offered = [value for value in _values(field) if refusal(lab, field.name, value) is None]
    hint = " · ".join(filter(None, (field.unit, field.help)))
    told = ", ".join(dict.fromkeys(offered))
    if field.kind != "number" or not offered:
        return Suggestion(field.title, told, hint, field.kind == "number")
    return Suggestion(field.title, told, hint, True, low=offered[0], high=offered[-1])


def _values(field: Field) -> list[str]:
    if field.kind == "select":
        return [value for value, _title in field.choices]
    if field.kind == "checkbox":
        return ["false", "true"]
    if field.kind != "number":
        return [field.value] if field.value else []
    try:
        return [as_text(value) for value in _numbers(field, field.value)]
    except (ValueError, OverflowError):
        return []


def _numbers(field: Field, text: str) -> Sequence[float]:
    """Around the value of the form: halves and doubles, or tenths and tenfolds."""
    whole = is_whole(field)
    if not text.strip():
        return WHOLE_UNSET if whole else UNSET
    value = float(text)
    if value == 0:
        return WHOLE_FROM_NOTHING if whole else FROM_NOTHING
    if whole:
        return [round(value * factor) for factor in WHOLE_FACTORS]
    return [float(f"{value * factor:.2g}") if factor != 1 else value for factor in FACTORS]
