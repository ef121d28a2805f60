"""Lines, bars or points of a plot as a drawing: places, ticks and names. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np

from app.drawing.axes import Axis, axis_of
from app.drawing.bars import Bar, bars_of, reach
from app.drawing.labels import Box, placed, width_of
from app.drawing.picture import BOTTOM, RADIUS, RIGHT, TICK_HEIGHT, TICK_WIDTH, TOP, WIDE_TICKS
from app.drawing.picture import Tick as Tick
from app.metrics.downsample import min_max

Style = Literal["line", "bars", "points"]
Words = Callable[[Sequence[float], str], Sequence[str]]
# More values of a series than this are thinned out: a picture has no more columns of dots.
MOST_DOTS = 800
# Of so many points each is named beside it; of a line with so few each has its dot.
MOST_NAMED, MOST_MARKED = 14, 40
# As many bars have their names below.
MOST_NAMED_BARS = 12
LEAST_LEFT, MOST_LEFT = 34.0, 110.0
# Of letters at a tick's size of type, beside those of names.
TICK_LETTER = 0.88
TICK_AIR = 8
COLOURS, DASHES = 8, 4


@dataclass(frozen=True, slots=True)
class PlotAxis:
    """What an axis shows."""

    title: str
    unit: str = ""
    is_log: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """One value; `y` None is a gap. `name` says what it is of, where it is something of its own."""

    x: float
    y: float | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line, bars or points of one name."""

    name: str
    dots: Sequence[Dot]


@dataclass(frozen=True, slots=True)
class Named:
    """A point's name; `x` is of the end of the text that `anchor` says."""

    text: str
    x: float
    y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A drawn value and what it says of itself."""

    x: float
    y: float
    told: str


@dataclass(frozen=True, slots=True)
class DrawnRow:
    """A series: pieces of its line between gaps, its bars, its spots, and names beside these."""

    colour: int
    dash: int
    lines: Sequence[str]
    bars: Sequence[Bar]
    spots: Sequence[Spot]
    names: Sequence[Named]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot in its own units, the origin in the upper left corner."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    rows: Sequence[DrawnRow]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie on a drawing, and how they are told."""

    area: Box
    x: Axis
    y: Axis
    told: Callable[[Row, Dot], str]

    def across(self, value: float) -> float:
        return round(self.area.x + self.area.width * self.x.share(value), 1)

    def down(self, value: float) -> float:
        return round(self.area.y + self.area.height * (1 - self.y.share(value)), 1)


def drawable(rows: Sequence[Row], x: PlotAxis, y: PlotAxis) -> list[Row]:
    """The rows without what has no place: a logarithmic axis has none for 0 and less."""
    return [replace(row, dots=_with_place(row.dots, x, y)) for row in rows]


def _with_place(dots: Sequence[Dot], x: PlotAxis, y: PlotAxis) -> list[Dot]:
    found = [dot for dot in dots if dot.x > 0 or not x.is_log]
    return [
        replace(dot, y=None) if y.is_log and dot.y is not None and dot.y <= 0 else dot
        for dot in found
    ]


def thinned(row: Row) -> Row:
    """The row with at most about `MOST_DOTS` values; no extreme of it is lost."""
    if len(row.dots) <= MOST_DOTS:
        return row
    values = np.array([np.nan if dot.y is None else dot.y for dot in row.dots])
    kept, _values = min_max(np.arange(len(row.dots)), values, MOST_DOTS)
    return replace(row, dots=[row.dots[at] for at in kept.tolist()])


def draw_plot(
    rows: Sequence[Row],
    x: PlotAxis,
    y: PlotAxis,
    style: Style,
    words: Words,
    told: Callable[[Row, Dot], str],
    size: tuple[float, float],
) -> Drawing | None:
    """The drawing; None where no value has a place.

    Args:
        rows: Those that `drawable` left.
        words: Values of one axis and their unit as texts, each another one.
        told: What a value says of itself.
    """
    xs = [dot.x for row in rows for dot in row.dots if dot.y is not None]
    ys = [dot.y for row in rows for dot in row.dots if dot.y is not None]
    if not ys:
        return None
    if style == "bars":
        xs = xs if x.is_log else reach(xs)
        ys = ys if y.is_log else [*ys, 0.0]
    height = size[1] - TOP - BOTTOM
    y_axis = axis_of(ys, y.unit, int(height // TICK_HEIGHT), False, y.is_log)
    y_texts = words(y_axis.ticks, y.unit)
    left = max(width_of(each) for each in (*y_texts, "")) * TICK_LETTER + 12
    left = min(max(left, LEAST_LEFT), MOST_LEFT)
    area = Box(left, TOP, size[0] - left - RIGHT, height)
    most = int(area.width // WIDE_TICKS.get(x.unit, TICK_WIDTH))
    x_axis = axis_of(xs, x.unit, most, False, x.is_log)
    frame = _Frame(area, x_axis, y_axis, told)
    named = _names_of_bars(rows, frame) if style == "bars" else []
    x_texts = words(x_axis.ticks, x.unit)
    return Drawing(
        width=size[0],
        height=size[1],
        left=round(left, 1),
        right=area.x + area.width,
        top=TOP,
        bottom=TOP + height,
        x_ticks=named
        or _apart(
            [Tick(frame.across(at), text) for at, text in zip(x_axis.ticks, x_texts, strict=True)]
        ),
        y_ticks=[
            Tick(frame.down(at), text) for at, text in zip(y_axis.ticks, y_texts, strict=True)
        ],
        rows=_drawn(rows, style, frame),
    )


def _apart(ticks: Sequence[Tick]) -> list[Tick]:
    """Those whose words do not run into the words before them, as on a logarithmic axis."""
    kept: list[Tick] = []
    for tick in ticks:
        if (
            not kept
            or tick.at - kept[-1].at
            >= TICK_LETTER * 0.5 * (width_of(tick.text) + width_of(kept[-1].text)) + TICK_AIR
        ):
            kept.append(tick)
    return kept


def _drawn(rows: Sequence[Row], style: Style, frame: _Frame) -> list[DrawnRow]:
    few = [style != "line" or len(row.dots) <= MOST_MARKED for row in rows]
    spots = [_spots(row, frame) if few[at] else [] for at, row in enumerate(rows)]
    bars = bars_of([_tops(row) for row in spots], _ground(frame)) if style == "bars" else []
    names = _names(rows, spots, frame) if style == "points" else [[] for _ in rows]
    return [
        DrawnRow(
            colour=at % COLOURS,
            dash=at % DASHES,
            lines=_pieces(row, frame) if style == "line" else [],
            bars=bars[at] if bars else [],
            spots=spots[at] if style != "bars" else [],
            names=names[at],
        )
        for at, row in enumerate(rows)
    ]


def _spots(row: Row, frame: _Frame) -> list[Spot]:
    return [
        Spot(frame.across(dot.x), frame.down(dot.y), frame.told(row, dot))
        for dot in row.dots
        if dot.y is not None
    ]


def _tops(row: Sequence[Spot]) -> list[tuple[float, float, str]]:
    return [(spot.x, spot.y, spot.told) for spot in row]


def _ground(frame: _Frame) -> float:
    """Where bars stand: at 0, where the axis has one."""
    if frame.y.logarithmic or not frame.y.low <= 0 <= frame.y.high:
        return frame.area.y + frame.area.height
    return frame.down(0.0)


def _pieces(row: Row, frame: _Frame) -> list[str]:
    """The line between two gaps, each as the points of a polyline."""
    return [
        " ".join(
            f"{frame.across(dot.x):g},{frame.down(dot.y):g}" for dot in piece if dot.y is not None
        )
        for has_value, piece in groupby(row.dots, lambda dot: dot.y is not None)
        if has_value
    ]


def _names(
    rows: Sequence[Row], spots: Sequence[Sequence[Spot]], frame: _Frame
) -> list[list[Named]]:
    """Of few points, the name of each beside it."""
    texts = [[dot.name for dot in row.dots if dot.y is not None] for row in rows]
    flat = [
        (text, spot)
        for names, row in zip(texts, spots, strict=True)
        for text, spot in zip(names, row, strict=True)
    ]
    if len(flat) > MOST_NAMED or not any(text for text, _ in flat):
        return [[] for _ in rows]
    points = [(spot.x, spot.y) for _, spot in flat]
    boxes = iter(placed([text for text, _ in flat], points, RADIUS, frame.area))
    return [
        [_named(text, spot, next(boxes)) for text, spot in zip(names, row, strict=True)]
        for names, row in zip(texts, spots, strict=True)
    ]


def _named(text: str, spot: Spot, box: Box) -> Named:
    at, anchor = box.anchored(spot.x)
    return Named(text, round(at, 1), round(box.y, 1), anchor)


def _names_of_bars(rows: Sequence[Row], frame: _Frame) -> list[Tick]:
    """Few bars of names have these in place of values along the x axis."""
    names = {dot.x: dot.name for row in rows for dot in row.dots if dot.name}
    if not names or len(names) > MOST_NAMED_BARS:
        return []
    room = frame.area.width / len(names)
    if max(map(width_of, names.values())) * TICK_LETTER > room:
        return []
    return [Tick(frame.across(x), name) for x, name in names.items()]
