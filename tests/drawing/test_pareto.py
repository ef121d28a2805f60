"""Laws of the front: it is what nothing beats, whoever is named first and whatever the units."""

import itertools
import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.drawing.pareto import Point, dominated, dominates, front

# Few different values, so that ties are usual.
VALUES = st.integers(0, 6).map(float)
POINTS = st.lists(st.builds(Point, st.just(""), VALUES, VALUES), max_size=12).map(
    lambda found: [replace(each, name=str(place)) for place, each in enumerate(found)]
)


def names(points: list[Point]) -> set[str]:
    return {each.name for each in points}


@given(points=POINTS)
def test_the_front_is_what_no_other_dominates(points: list[Point]) -> None:
    best = names(front(points))
    for each in points:
        assert (each.name in best) is not any(dominates(other, each) for other in points)
    assert bool(best) is bool(points)


@given(points=POINTS)
def test_every_other_is_beaten_by_some_of_the_front(points: list[Point]) -> None:
    best, beaten = front(points), dominated(points)
    assert names(best) | names([each.point for each in beaten]) == names(points)
    assert len(best) + len(beaten) == len(points)
    for each in beaten:
        assert each.by
        assert all(other in best and dominates(other, each.point) for other in each.by)


@given(points=POINTS, order=st.randoms(use_true_random=False))
def test_the_order_makes_no_difference(points: list[Point], order: object) -> None:
    mixed = list(points)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    assert front(mixed) == front(points)
    assert dominated(mixed) == dominated(points)


@given(points=POINTS)
def test_other_units_make_no_difference(points: list[Point]) -> None:
    scaled = [Point(each.name, math.log1p(each.cost), 100 * each.quality**3 - 7) for each in points]
    assert names(front(scaled)) == names(front(points))


@given(points=POINTS)
def test_equal_results_stay_together(points: list[Point]) -> None:
    doubled = [*points, *(replace(each, name=f"{each.name}'") for each in points)]
    best = names(front(doubled))
    assert best == {name + sign for name in names(front(points)) for sign in ("", "'")}


@given(points=POINTS)
def test_along_the_front_what_costs_more_is_better(points: list[Point]) -> None:
    found = front(points)
    for cheaper, dearer in itertools.pairwise(found):
        same = (cheaper.cost, cheaper.quality) == (dearer.cost, dearer.quality)
        assert same or (cheaper.cost < dearer.cost and cheaper.quality < dearer.quality)
