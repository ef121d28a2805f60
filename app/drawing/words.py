"""Figures and fronts in words."""

from collections.abc import Sequence

from app.drawing.pareto import Point, dominated, front
from app.html import number
from app.i18n import N_, gettext, sentence
from app.runs.measure import measured

# A share below this would be rounded to nothing.
SMALL_SHARE = 1e-4
NAMES = ", "


def figure_words(value: float, unit: str) -> str:
    """A measured value with its unit, small shares with digits enough to tell them apart."""
    if unit == "fraction" and 0 < value < SMALL_SHARE:
        return f"{number(value * 100, 6)} %"
    return measured(value, unit)


def front_words(points: Sequence[Point]) -> list[str]:
    """Which results are on the front, and for each other one which of them beat it.

    Args:
        points: Named as people shall read it.
    """
    best = NAMES.join(each.name for each in front(points))
    told = [
        sentence(
            N_("On the front, where nothing is both cheaper and better: {names}."), {"names": best}
        )
    ]
    for each in dominated(points):
        values = {"name": each.point.name, "by": NAMES.join(other.name for other in each.by)}
        told.append(sentence(N_("{name} is dominated by {by}."), values))
    return told


def direction_words(direction: str) -> str:
    """Which values are better."""
    if direction == "none":
        return ""
    return gettext("lower is better" if direction == "lower" else "higher is better")
