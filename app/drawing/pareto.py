"""Which results nothing else beats at once in cost and in quality. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A result: what it cost (less is better) and how good it is (more is better). Both finite."""

    name: str
    cost: float
    quality: float


@dataclass(frozen=True, slots=True)
class Dominated:
    """A result that others beat; `by` are those of the front that do, in the front's order."""

    point: Point
    by: Sequence[Point]


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better. Equals do not."""
    nowhere_worse = one.cost <= other.cost and one.quality >= other.quality
    return nowhere_worse and (one.cost < other.cost or one.quality > other.quality)


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, the cheapest first; equal ones stay all."""
    kept = [each for each in points if not any(dominates(other, each) for other in points)]
    return sorted(kept, key=lambda each: (each.cost, each.quality, each.name))


def dominated(points: Sequence[Point]) -> list[Dominated]:
    """The other points, the best first, each with those of the front that beat it."""
    best = front(points)
    beaten = [
        Dominated(each, by)
        for each in points
        if (by := [other for other in best if dominates(other, each)])
    ]
    return sorted(beaten, key=lambda each: (-each.point.quality, each.point.cost, each.point.name))
