"""Scales of a picture: linear or logarithmic, with ticks at round values. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# From this ratio of the largest to the smallest value on, a linear axis shows only the largest.
LOGARITHMIC_FROM = 20.0
# Room around the outermost values, as a share of the axis.
MARGIN = 0.07
ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
# Values that differ by a smaller share than this are one value to a picture.
EQUAL = 1e-9
BYTES_STEP, BYTES_POWER = 1024.0, 4.0


@dataclass(frozen=True, slots=True)
class Axis:
    """From the smallest to the largest value shown, with the values that are labelled."""

    low: float
    high: float
    logarithmic: bool
    ticks: Sequence[float]

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def axis_of(
    values: Sequence[float],
    unit: str,
    most_ticks: int,
    may_be_log: bool = True,
    must_be_log: bool = False,
) -> Axis:
    """An axis on which all of these finite values lie, with at most so many ticks.

    Fractions end at 0 and 1. Sizes in bytes have ticks at round KiB, MiB, …

    Args:
        may_be_log: Whether it is logarithmic where a linear one would show the largest alone.
        must_be_log: Whether it is logarithmic anyway; then all values are above 0.
    """
    least, most = min(values), max(values)
    wide = may_be_log and least > 0 and most / least >= LOGARITHMIC_FROM
    if wide or must_be_log:
        return _logarithmic(least, most, BYTES_POWER if unit == "bytes" else 10.0, most_ticks)
    low, high = _widened(least, most)
    if least >= 0:
        low = max(0.0, low)
    if unit == "fraction" and most <= 1:
        high = min(1.0, high)
    return Axis(low, high, False, _round_values(low, high, unit, most_ticks))


def _widened(least: float, most: float) -> tuple[float, float]:
    if most - least <= EQUAL * max(abs(least), abs(most)):
        room = abs(least) * 0.1 or 1.0
        return least - room, most + room
    room = (most - least) * MARGIN
    return least - room, most + room


def _logarithmic(least: float, most: float, base: float, most_ticks: int) -> Axis:
    room = (most / least) ** MARGIN if most / least > 1 + EQUAL else 1.1
    low, high = least / room, most * room
    first, last = math.ceil(math.log(low, base)), math.floor(math.log(high, base))
    if last - first < 1:  # no two powers of the base lie within: round values do
        unit = "bytes" if base == BYTES_POWER else ""
        return Axis(low, high, True, _round_values(low, high, unit, most_ticks))
    every = math.ceil((last + 1 - first) / most_ticks)
    return Axis(low, high, True, [base**power for power in range(first, last + 1, every)])


def _round_values(low: float, high: float, unit: str, most_ticks: int) -> list[float]:
    scale = _scale(high) if unit == "bytes" else 1.0
    low, high = low / scale, high / scale
    step = _round_step((high - low) / most_ticks)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [each * step * scale for each in range(first, last + 1)]


def _scale(value: float) -> float:
    scale = 1.0
    while value / scale >= BYTES_STEP:
        scale *= BYTES_STEP
    return scale


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * each for each in ROUND if power * each >= least * (1 - 1e-9))
