"""The values that a parameter takes, each judged by the lab's own `Params`."""

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from app.errors import FieldError, InvalidInput
from app.forms import Field, Values, as_text, param_fields
from app.i18n import N_, gettext
from app.invalid import short
from app.runs.fields import read_params
from app.sweeps.asked import Span, Vary
from labs.contract import Lab

MOST_VALUES = 64
# Of numbers between the ends of a span: enough to tell 64 of them apart.
SIGNIFICANT_DIGITS = 4
NAMED = 5


def field_of(lab: Lab, parameter: str) -> Field | None:
    """The control of a parameter, which knows its kind and its choices."""
    found = (each for each in param_fields(lab.params, Values()) if each.name == parameter)
    return next(found, None)


def refusal(lab: Lab, parameter: str, value: Any) -> FieldError | None:
    """Why the parameter cannot have this value, whatever the others are."""
    _params, errors = read_params(lab.params, {parameter: value})
    return next((error for error in errors if error.field == parameter), None)


def check_vary(lab: Lab, vary: Vary, at: str) -> list[FieldError]:
    """What is wrong with one varied parameter; `at` is where its fields are: "vary.0"."""
    field = field_of(lab, vary.parameter)
    if field is None:
        unknown = refusal(lab, vary.parameter, None)
        assert unknown is not None, "a parameter without a control is not known to the lab"
        return [FieldError(f"{at}.parameter", unknown.message, unknown.values)]
    if vary.span is not None:
        return _check_span(lab, field, vary.span, at)
    if not vary.values:
        told = N_("Give the values that “{title}” takes.")
        return [FieldError(f"{at}.values", told, {"title": field.title})]
    return _check_values(lab, field, vary.values, f"{at}.values")


def listed(field: Field, vary: Vary) -> list[Any]:
    """The values of a grid, in order; equal ones may be among them."""
    if vary.span is None:
        return list(vary.values)
    span, last = vary.span, vary.span.count - 1
    shares = [each / last for each in range(span.count)] if last else [0.0]
    return [_at(field, span, share) for share in shares]


def drawn(field: Field, vary: Vary, random: Random) -> Any:
    """One value at random: of the list, or anywhere in the span."""
    if vary.span is None:
        return random.choice(list(vary.values))
    return _at(field, vary.span, random.random())


def _at(field: Field, span: Span, share: float) -> float | int:
    """The number at this share of the way; the ends are exactly as they were given."""
    if share in (0.0, 1.0):
        value = span.low if share == 0.0 else span.high
    elif span.scale == "log":
        value = math.exp((1 - share) * math.log(span.low) + share * math.log(span.high))
    else:
        value = span.low + (span.high - span.low) * share
    if is_whole(field):
        return round(value)
    return value if share in (0.0, 1.0) else _shortened(value, span)


def is_whole(field: Field) -> bool:
    return field.kind == "number" and field.step == "1"


def _shortened(value: float, span: Span) -> float:
    short = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return min(max(short, span.low), span.high)


def _check_span(lab: Lab, field: Field, span: Span, at: str) -> list[FieldError]:
    if field.kind != "number":
        told = N_("“{title}” is not a number and has no range: list its values.")
        return [FieldError(f"{at}.parameter", told, {"title": field.title})]
    if not (math.isfinite(span.low) and math.isfinite(span.high) and span.low < span.high):
        told = N_("A range goes from a smaller number to a larger one, not from {low} to {high}.")
        values = {"low": as_text(span.low), "high": as_text(span.high)}
        return [FieldError(f"{at}.to", told, values)]
    if not 2 <= span.count <= MOST_VALUES:
        told = N_("A range has 2 to {most} values, not {count}.")
        return [FieldError(f"{at}.count", told, {"most": MOST_VALUES, "count": short(span.count)})]
    if span.scale == "log" and span.low <= 0:
        told = N_("Equal ratios need numbers above 0: {low} is not.")
        return [FieldError(f"{at}.from", told, {"low": as_text(span.low)})]
    ends = {"from": span.low, "to": span.high}
    found = {end: refusal(lab, field.name, _typed(field, ends[end])) for end in ends}
    return [FieldError(f"{at}.{end}", e.message, e.values) for end, e in found.items() if e]


def _typed(field: Field, value: float) -> float | int:
    return int(value) if is_whole(field) and value == int(value) else value


def _check_values(lab: Lab, field: Field, values: Sequence[Any], at: str) -> list[FieldError]:
    """Once, naming every value that was refused."""
    found = [(value, error) for value in values if (error := refusal(lab, field.name, value))]
    if not found:
        return []
    first = found[0][1]
    if len(found) == 1:
        return [FieldError(at, first.message, first.values)]
    more = [short(as_text(value)) for value, _error in found[1:]]
    named = ", ".join(more[:NAMED]) + (", …" if len(more) > NAMED else "")
    told = gettext(first.message).format(**first.values)
    return [FieldError(at, N_("{told} Also refused: {values}."), {"told": told, "values": named})]


def refuse(errors: Sequence[FieldError]) -> None:
    """Raise `InvalidInput` if there are any."""
    if errors:
        raise InvalidInput(errors)
