"""Plots of a run page: what was sent is drawn, told and listed; what is broken breaks nothing."""

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.html import environment
from app.models import RunEvent
from app.runs import measure
from app.runs.plots import MOST_LISTED, PlotCard
from app.runs.shown import Shown, shown

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["NaN", "", "x", "<b>"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["title", "unit", "log", "xs", "ys", "labels", "name"]), inner),
    max_leaves=12,
)  # fmt: skip
NUMBERS = st.lists(st.integers() | st.floats() | st.sampled_from(["NaN", "-Infinity", None, True]))
SERIES = st.fixed_dictionaries(
    {"name": st.sampled_from(["", "a", "<b>&", "ä"]), "xs": NUMBERS, "ys": NUMBERS},
    optional={"labels": ANYTHING},
)
AXES = st.fixed_dictionaries(
    {"title": st.just("Axis"), "unit": st.sampled_from(["", "s", "bytes", "fraction", "tokens/s"]),
     "log": st.booleans()}
)  # fmt: skip
PLOTS = st.fixed_dictionaries(
    {"style": st.sampled_from(["line", "bars", "points", "pie"]), "x": AXES | ANYTHING,
     "y": AXES | ANYTHING, "series": st.lists(SERIES, max_size=3) | ANYTHING}
)  # fmt: skip


def found(kind: str = "plot", **payload: Any) -> Shown:
    return shown([RunEvent(kind=kind, payload={"name": "x", "title": "Shown", **payload})])


def html_of(one: Any, macro: str = "plot_card") -> str:
    macros = environment().get_template("macros/shown.html").module
    return str(getattr(macros, macro)(one))


def plot(style: str, *series: dict[str, Any], **axes: Any) -> PlotCard:
    sides = {"x": {"title": "Bits"}, "y": {"title": "Perplexity"}, **axes}
    (card,) = found(style=style, series=list(series), **sides).plots
    return card


def line(ys: list[Any], name: str = "GPTQ", **more: Any) -> dict[str, Any]:
    return {"name": name, "xs": list(range(len(ys))), "ys": ys, **more}


@settings(max_examples=60, deadline=None)
@given(payload=PLOTS)
def test_whatever_a_trainer_sends_is_a_picture_or_nothing(payload: dict[str, Any]) -> None:
    for card in found(**payload).plots:
        ElementTree.fromstring(html_of(card).strip())
        for _, drawing in card.drawings:
            assert drawing.left < drawing.right
            for row in drawing.rows:
                spots = [(spot.x, spot.y) for spot in row.spots]
                bars = [(bar.x + bar.width / 2, bar.y) for bar in row.bars]
                for x, y in spots + bars:
                    assert drawing.left - 0.2 <= x <= drawing.right + 0.2
                    assert drawing.top - 0.2 <= y <= drawing.bottom + 0.2


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["table", "samples", "heatmap"]),
    payload=st.dictionaries(
        st.sampled_from(["columns", "rows", "x", "y", "values", "unit", "title"]), ANYTHING
    ),
)
def test_other_events_of_no_shape_are_not_shown_either(kind: str, payload: dict[str, Any]) -> None:
    all_ = found(kind, **payload)
    for macro, cards in (
        ("table_card", all_.tables),
        ("samples_card", all_.samples),
        ("heatmap_card", all_.heatmaps),
    ):
        for card in cards:
            html_of(card, macro)


def test_a_gap_parts_a_line_and_is_a_dash_in_the_table() -> None:
    card = plot("line", line([1.0, 2.0, "NaN", 4.0, 5.0]))
    assert [len(row.lines) for _, drawing in card.drawings for row in drawing.rows] == [2, 2]
    assert card.rows[2] == ["2", "–"]


def test_series_on_the_same_places_share_a_table_and_have_their_own_marks() -> None:
    card = plot("points", line([1.0, 2.0], "RTN"), line([3.0, 4.0], "AWQ"))
    assert card.head == ["Bits", "RTN", "AWQ"]
    assert card.rows == [["0", "1", "3"], ["1", "2", "4"]]
    assert len({(each.colour, each.dash) for each in card.legend}) == 2


def test_a_logarithmic_axis_says_what_it_cannot_show() -> None:
    log = {"title": "Error", "log": True}
    card = plot("line", line([0.0, -1.0, 0.1, 1e-6]), y=log)
    assert any("logarithmic axis" in note for note in card.notes)
    assert card.y_title == "Error · logarithmic"
    narrow = plot("line", line([3.0, 4.0]), y=log)
    assert all(drawing.y_ticks for _, drawing in narrow.drawings)


def test_a_huge_series_is_thinned_out_without_losing_its_peak() -> None:
    ys: list[Any] = [1.0] * 50_000
    ys[31_337] = 9.0
    card = plot("line", line(ys))
    (_, drawing), _ = card.drawings
    points = drawing.rows[0].lines[0].split(" ")
    assert len(points) < 1000
    assert min(float(point.split(",")[1]) for point in points) < drawing.top + 30
    assert len(card.rows) == MOST_LISTED
    assert len(card.notes) == 2


def test_bars_stand_on_zero_beside_each_other() -> None:
    card = plot("bars", line([1.0, -2.0, 3.0], "before"), line([2.0, 1.0, 1.0], "after"))
    (_, drawing), _ = card.drawings
    before, after = (row.bars for row in drawing.rows)
    assert all(a.x + a.width <= b.x + 0.1 for a, b in zip(before, after, strict=True))
    grounds = {round(before[0].y + before[0].height), round(before[1].y)}
    assert len(grounds) == 1


@pytest.mark.parametrize("unit", ["tokens/s", "nats per target token"])
def test_a_unit_that_is_no_scale_stands_once_at_the_axis(unit: str) -> None:
    card = plot("line", line([10.0, 20.0]), y={"title": "Speed", "unit": unit})
    assert card.y_title == f"Speed ({unit})"
    assert not any(unit in tick.text for _, drawing in card.drawings for tick in drawing.y_ticks)


def test_few_points_have_their_names_beside_them() -> None:
    card = plot("points", line([1.0, 2.0], labels=["4 bit", "8 bit"]))
    html = html_of(card)
    assert html.count(">4 bit</text>") == 2
    assert measure.measured(2.0, "") in html
