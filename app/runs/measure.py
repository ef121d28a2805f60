"""Measured values in words: each unit in the form people read it."""

import math

from app.html import bytes_, duration, environment, number
from app.i18n import gettext


def measured(value: float | None, unit: str) -> str:
    """A metric's value with its unit, to about four significant digits."""
    if value is None or not math.isfinite(value):
        return number(value)
    if unit == "bytes":
        return bytes_(value)
    if unit == "fraction":
        return f"{number(value * 100, 2)} %"
    if unit == "s":
        return _seconds(value)
    text = _four_digits(value)
    return f"{text} {gettext(unit)}" if unit and len(unit) <= 10 else text


def _seconds(value: float) -> str:
    if value < 1:
        return f"{_four_digits(value * 1000)} ms"
    return duration(value)


def _four_digits(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return number(value)
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 15:
        return f"{value:.2e}"
    return number(value, max(0, 3 - magnitude))


# Templates that show measurements are rendered by modules that import this one.
environment().filters["measured"] = measured
