"""Bars of histograms: how wide each is and where it stands. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# The share of its place that a bar fills.
FILLED = 0.88
WIDEST, NARROWEST = 64.0, 1.0
Top = tuple[float, float, str]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from its upper left corner, and what it says of itself."""

    x: float
    y: float
    width: float
    height: float
    told: str


def reach(xs: Sequence[float]) -> list[float]:
    """The middles of bars, with half a bar's room at both ends."""
    half = narrowest_gap(xs, 1.0) / 2
    return [min(xs) - half, *xs, max(xs) + half]


def narrowest_gap(xs: Sequence[float], alone: float) -> float:
    """The smallest distance between two different places; `alone` where there is but one."""
    places = sorted(set(xs))
    return min((after - before for before, after in pairwise(places)), default=alone)


def bars_of(rows: Sequence[Sequence[Top]], ground: float) -> list[list[Bar]]:
    """The bars of each row over their ground: beside each other where all rows have the same
    places, else each row for itself, over the earlier ones.

    Args:
        rows: Middle and height of each bar in the drawing's units, and what it says of itself.
    """
    places = [{x for x, _, _ in row} for row in rows if row]
    shared = all(each == places[0] for each in places)
    beside = len(places) if shared else 1
    drawn, order = [], 0
    for row in rows:
        place = narrowest_gap([x for x, _, _ in row], WIDEST) * FILLED
        width = max(min(place / beside, WIDEST), NARROWEST)
        first = -width * beside / 2 + (order * width if shared else 0.0)
        drawn.append([_bar(top, first, width, ground) for top in row])
        order += bool(row)
    return drawn


def _bar(top: Top, first: float, width: float, ground: float) -> Bar:
    x, y, told = top
    return Bar(
        round(x + first, 2), min(y, ground), round(width, 2), round(abs(ground - y), 2), told
    )
