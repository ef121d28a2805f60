"""Plots that a run has shown: drawn for broad and for slim pages, with their values as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from app.drawing.plot import (
    COLOURS,
    DASHES,
    Dot,
    Drawing,
    PlotAxis,
    Row,
    draw_plot,
    drawable,
    thinned,
)
from app.drawing.words import figure_words
from app.i18n import N_, gettext, sentence
from app.runs.believed import PlotData, plot_data
from app.runs.measure import measured

# In units of the drawing: a broad one, and one that a phone shows without shrinking letters.
BROAD, SLIM = (600.0, 320.0), (380.0, 300.0)
MOST_LISTED = 200
# Units that stand with each value; others stand once, at the axis.
WITH_VALUES = frozenset({"", "bytes", "fraction", "s"})
NO_PLACE = N_("Values of 0 or less have no place on a logarithmic axis.")
FEWER_SERIES = N_("Only the first {shown} of {total} series are drawn.")
FEWER_VALUES = N_("Only {shown} of {total} values are drawn, every extreme among them.")
FEWER_LISTED = N_("The table has the first {shown} of {total} rows.")


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A series by name; its colour and dash or shape by number."""

    name: str
    colour: int
    dash: int


@dataclass(frozen=True, slots=True)
class PlotCard:
    """A plot as its page shows it. Rendered by macros/shown.html.

    Attributes:
        drawings: The same for broad and for slim pages, with its kind; none where nothing can be
            drawn.
        head, rows: Its values as a table.
        notes: What is not drawn or not listed.
    """

    name: str
    title: str
    style: str
    drawings: Sequence[tuple[str, Drawing]]
    x_title: str
    y_title: str
    legend: Sequence[LegendEntry]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


def plot_card(payload: Mapping[str, Any]) -> PlotCard | None:
    """The card of a plot event; None where the event has no shape of one."""
    plot = plot_data(payload)
    return _card(plot) if plot else None


def _card(plot: PlotData) -> PlotCard:
    placed = drawable(plot.rows, plot.x, plot.y)
    rows = [_in_words(thinned(row)) for row in placed]

    def told(row: Row, dot: Dot) -> str:
        figures = f"{_value(dot.x, plot.x)}, {_value(dot.y, plot.y)}"
        return ": ".join(filter(None, (gettext(row.name), dot.name, figures)))

    drawn = [
        (kind, draw_plot(rows, plot.x, plot.y, plot.style, tick_words, told, size))
        for kind, size in (("broad", BROAD), ("slim", SLIM))
    ]
    head, listed, total = _table(plot)
    return PlotCard(
        name=plot.name,
        title=plot.title,
        style=plot.style,
        drawings=[(kind, drawing) for kind, drawing in drawn if drawing],
        x_title=axis_title(plot.x),
        y_title=axis_title(plot.y),
        legend=_legend(plot.rows),
        head=head,
        rows=listed,
        notes=_notes(plot, placed, rows, total),
    )


def _in_words(row: Row) -> Row:
    """The names beside its points in the reader's language."""
    dots = [replace(dot, name=gettext(dot.name)) if dot.name else dot for dot in row.dots]
    return replace(row, dots=dots)


def axis_title(axis: PlotAxis) -> str:
    """What an axis shows, its unit where that does not stand with the values, and its scale."""
    unit = gettext(axis.unit) if axis.unit not in WITH_VALUES else ""
    named = " ".join(
        filter(None, (gettext(axis.title) if axis.title else "", f"({unit})" if unit else ""))
    )
    return " · ".join(filter(None, (named, gettext(N_("logarithmic")) if axis.is_log else "")))


def tick_words(values: Sequence[float], unit: str) -> list[str]:
    """Values of an axis as texts, with digits enough to tell each from the next."""
    texts = [figure_words(value, unit if unit in WITH_VALUES else "") for value in values]
    if len(set(texts)) == len(texts):
        return texts
    return [f"{value:.10g}" for value in values]


def _value(value: float | None, axis: PlotAxis) -> str:
    return measured(value, axis.unit)


def _legend(rows: Sequence[Row]) -> list[LegendEntry]:
    if len(rows) < 2 and not any(row.name for row in rows):
        return []
    return [LegendEntry(row.name, at % COLOURS, at % DASHES) for at, row in enumerate(rows)]


def _table(plot: PlotData) -> tuple[list[str], list[list[str]], int]:
    """A column a series where the places are shared; else a row a value, with its name.

    Returns:
        The heads, the first rows, and how many there are.
    """
    places = [[dot.x for dot in row.dots] for row in plot.rows]
    is_named = any(dot.name for row in plot.rows for dot in row.dots)
    titles = [
        gettext(axis.title) if axis.title else sign for axis, sign in ((plot.x, "x"), (plot.y, "y"))
    ]
    if places and not is_named and all(each == places[0] for each in places):
        names = [gettext(row.name) if row.name else titles[1] for row in plot.rows]
        across = zip(*(row.dots[:MOST_LISTED] for row in plot.rows), strict=True)
        listed = [
            [_value(dots[0].x, plot.x), *(_value(dot.y, plot.y) for dot in dots)] for dots in across
        ]
        return [titles[0], *names], listed, len(places[0])
    every = ((row, dot) for row in plot.rows for dot in row.dots)
    listed = [
        [_name(row, dot), _value(dot.x, plot.x), _value(dot.y, plot.y)]
        for row, dot in islice(every, MOST_LISTED)
    ]
    return [gettext(N_("Name")), *titles], listed, sum(map(len, places))


def _name(row: Row, dot: Dot) -> str:
    return " · ".join(filter(None, (gettext(row.name) if row.name else "", dot.name)))


def _notes(plot: PlotData, placed: Sequence[Row], drawn: Sequence[Row], listed: int) -> list[str]:
    notes = []
    before, after, shown = (_count(rows) for rows in (plot.rows, placed, drawn))
    if after < before:
        notes.append(gettext(NO_PLACE))
    if plot.unseen:
        shown_rows = len(plot.rows)
        notes.append(
            sentence(FEWER_SERIES, {"shown": shown_rows, "total": shown_rows + plot.unseen})
        )
    if shown < after:
        notes.append(sentence(FEWER_VALUES, {"shown": shown, "total": after}))
    if listed > MOST_LISTED:
        notes.append(sentence(FEWER_LISTED, {"shown": MOST_LISTED, "total": listed}))
    return notes


def _count(rows: Sequence[Row]) -> int:
    return sum(dot.y is not None for row in rows for dot in row.dots)
