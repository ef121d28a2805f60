"""The picture: every value on its axis, round ticks, and names that cover nothing."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.drawing.axes import axis_of
from app.drawing.labels import Box, width_of
from app.drawing.picture import RADIUS, Mark, Picture, Scale, Shown, draw
from app.drawing.words import figure_words
from app.scoreboards.tradeoff import BROAD, SLIM

POSITIVE = st.floats(1e-6, 1e10)
UNITS = st.sampled_from(["", "bytes", "fraction", "s"])
LABELS = (
    "LoRA",
    "Prompt tuning",
    "P-tuning v2",
    "Full fine-tuning",
    "IA³",
    "Prefix tuning",
    "提示微調",
)
SHARE = Scale("fraction", "lower")
ACCURACY = Scale("fraction", "higher")


@given(values=st.lists(POSITIVE, min_size=1, max_size=12), unit=UNITS, most=st.integers(2, 8))
def test_an_axis_holds_its_values_and_few_ticks(values: list[float], unit: str, most: int) -> None:
    axis = axis_of(values, unit, most)
    assert all(0 <= axis.share(each) <= 1 for each in values)
    ordered = sorted(values)
    shares = [axis.share(each) for each in ordered]
    assert shares == sorted(shares)
    assert 1 <= len(axis.ticks) <= most + 1
    assert all(-1e-6 <= axis.share(each) <= 1 + 1e-6 for each in axis.ticks if axis.low <= each)


def test_an_axis_is_logarithmic_where_a_linear_one_would_show_the_largest_alone() -> None:
    assert axis_of([0.001, 1.0], "fraction", 5).logarithmic
    assert not axis_of([0.5, 1.0], "fraction", 5).logarithmic
    assert not axis_of([0.0, 1.0], "fraction", 5).logarithmic
    sizes = axis_of([9_000.0, 7_400_000.0], "bytes", 6)
    assert [figure_words(each, "bytes") for each in sizes.ticks][:2] == ["16 KiB", "64 KiB"]


@settings(max_examples=25, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(1e-4, 1), st.floats(0, 1)), min_size=1, max_size=9),
    size=st.sampled_from([BROAD, SLIM]),
)
def test_no_name_covers_another_nor_a_point(
    points: list[tuple[float, float]], size: tuple[float, float]
) -> None:
    picture = drawn(points, size)
    names = [box_of(mark) for mark in picture.marks]
    for one, other in itertools.combinations(names, 2):
        assert not one.covers(other)
    for name, mark in itertools.product(names, picture.marks):
        assert not name.covers(Box(mark.x - RADIUS, mark.y - RADIUS, 2 * RADIUS, 2 * RADIUS))
    for name in names:
        assert picture.base_label is None or not name.covers(picture.base_label)
        assert picture.left <= name.x + 0.1
        assert name.x + name.width <= picture.right + 0.1


def box_of(mark: Mark) -> Box:
    width = width_of(mark.label)
    moved = {"start": 0.0, "middle": width / 2, "end": width}[mark.anchor]
    return Box(mark.text_x - moved + 0.1, mark.text_y, width - 0.2, 15)


def drawn(points: list[tuple[float, float]], size: tuple[float, float]) -> Picture:
    shown = [
        Shown(str(place), LABELS[place % len(LABELS)], cost, quality)
        for place, (cost, quality) in enumerate(points)
    ]
    base = (0.02, "untouched model: 2 %")
    return draw(shown, SHARE, ACCURACY, figure_words, size, base)


@pytest.mark.parametrize("size", [BROAD, SLIM])
def test_better_is_up_or_down_as_the_metric_says(size: tuple[float, float]) -> None:
    shown = [Shown("a", "A", 1.0, 1.2), Shown("b", "B", 2.0, 1.5), Shown("c", "C", 3.0, 1.1)]
    picture = draw(shown, SHARE, Scale("", "lower"), figure_words, size)
    assert [mark.name for mark in picture.marks if mark.on_front] == ["a", "c"]
    higher = draw(shown, SHARE, ACCURACY, figure_words, size)
    assert [mark.name for mark in higher.marks if mark.on_front] == ["a", "b"]
    heights = {mark.name: mark.y for mark in picture.marks}
    assert heights["b"] < heights["a"] < heights["c"]


def test_the_untouched_model_is_drawn_where_it_does_not_press_the_others_together() -> None:
    shown = [Shown("a", "A", 1.0, 0.6), Shown("b", "B", 2.0, 0.9)]
    near, far = (
        draw(shown, SHARE, ACCURACY, figure_words, BROAD, (base, "untouched"))
        for base in (0.4, 0.0)
    )
    assert near.base_y is not None
    assert far.base_y is None
    assert far.base_label is None


def test_a_very_small_share_is_not_rounded_to_nothing() -> None:
    assert figure_words(0.000008, "fraction") == "0.0008 %"
    assert figure_words(0.0312, "fraction") == "3.12 %"
