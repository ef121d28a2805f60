"""Quality against a cost as a drawing: places of points, names, axes and the front. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.drawing.axes import axis_of
from app.drawing.labels import LINE_HEIGHT, Box, placed, width_of
from app.drawing.pareto import Point, front
from labs.contract import Direction

RADIUS = 5.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 24.0, 30.0, 44.0
# A tick's words and some air beside them.
TICK_WIDTH, TICK_HEIGHT = 62.0, 44.0
# “1 min 20 s” is longer than other values.
WIDE_TICKS = {"s": 80.0}
# How many times the range of the results an axis may be that also shows the untouched model.
STRETCHED = 2.0
# From this distance on a thin line leads from the name to its point.
LED_FROM = 6.0


@dataclass(frozen=True, slots=True)
class Shown:
    """One result: its address, name, cost and quality, as measured."""

    name: str
    label: str
    cost: float
    quality: float


@dataclass(frozen=True, slots=True)
class Scale:
    """What an axis shows."""

    unit: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled value; `at` in the drawing's units."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A drawn point with its name and figures; `lead` are the ends of the line between them.

    `anchor` is the end of the name that `text_x` is of: the one nearest to the point.
    """

    name: str
    label: str
    told: str
    x: float
    y: float
    text_x: float
    text_y: float
    anchor: str
    on_front: bool
    lead: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing in its own units, the origin in the upper left corner."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    logarithmic: bool
    front: str
    marks: Sequence[Mark]
    base_y: float | None
    base_label: Box | None
    base_text: str


def draw(
    shown: Sequence[Shown],
    cost: Scale,
    quality: Scale,
    words: Callable[[float, str], str],
    size: tuple[float, float],
    base: tuple[float, str] | None = None,
) -> Picture:
    """The picture of at least one result.

    Args:
        words: A value and its unit as text.
        base: Quality of the untouched model, and what is written at its line; left out where it
            is so far from the results that these would all be drawn as one.
    """
    width, height = size
    area = Box(LEFT, TOP, width - LEFT - RIGHT, height - TOP - BOTTOM)
    levels = [each.quality for each in shown]
    base = base if base and _is_near(base[0], levels) else None
    levels += [base[0]] if base else []
    most = int(area.width // WIDE_TICKS.get(cost.unit, TICK_WIDTH))
    x_axis = axis_of([each.cost for each in shown], cost.unit, most)
    y_axis = axis_of(levels, quality.unit, int(area.height // TICK_HEIGHT), may_be_log=False)

    def across(value: float) -> float:
        return round(area.x + area.width * x_axis.share(value), 1)

    def down(value: float) -> float:
        return round(area.y + area.height * (1 - y_axis.share(value)), 1)

    def told(each: Shown) -> str:
        figures = (words(each.quality, quality.unit), words(each.cost, cost.unit))
        return f"{each.label}: {', '.join(figures)}"

    best = front(points_of(shown, quality.direction, cost.direction))
    ordered = {each.name: each for each in shown}
    stairs = [(across(each.cost), down(ordered[each.name].quality)) for each in best]
    base_y = down(base[0]) if base else None
    base_label = _base_label(base[1], base_y, area) if base and base_y is not None else None
    taken = [*_along(_stairs(stairs)), *([base_label] if base_label else [])]
    return Picture(
        width=width,
        height=height,
        left=area.x,
        right=area.x + area.width,
        top=area.y,
        bottom=area.y + area.height,
        x_ticks=[Tick(across(each), words(each, cost.unit)) for each in x_axis.ticks],
        y_ticks=[Tick(down(each), words(each, quality.unit)) for each in y_axis.ticks],
        logarithmic=x_axis.logarithmic,
        front=" ".join(f"{x:g},{y:g}" for x, y in _stairs(stairs)),
        marks=_marks(shown, told, across, down, {each.name for each in best}, area, taken),
        base_y=base_y,
        base_label=base_label,
        base_text=base[1] if base else "",
    )


def points_of(shown: Sequence[Shown], quality: Direction, cost: Direction = "lower") -> list[Point]:
    """The same results where more quality and less cost are always better."""
    return [
        Point(
            each.name,
            -each.cost if cost == "higher" else each.cost,
            -each.quality if quality == "lower" else each.quality,
        )
        for each in shown
    ]


def _is_near(base: float, levels: Sequence[float]) -> bool:
    own = max(levels) - min(levels)
    return max(*levels, base) - min(*levels, base) <= STRETCHED * own


def _stairs(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The front as steps: between two results nothing was measured that is better than the first."""
    path = []
    for at, (x, y) in enumerate(corners):
        if at:
            path.append((x, corners[at - 1][1]))
        path.append((x, y))
    return path


def _along(path: Sequence[tuple[float, float]]) -> list[Box]:
    """The line itself, so that no name is written over it."""
    return [
        Box(min(x, to_x) - 1, min(y, to_y) - 1, abs(to_x - x) + 2, abs(to_y - y) + 2)
        for (x, y), (to_x, to_y) in pairwise(path)
    ]


def _base_label(text: str, y: float, area: Box) -> Box:
    """Above its line at the right end; below it where there is no room."""
    width = width_of(text)
    above = y - LINE_HEIGHT - 2
    top = above if above >= area.y else y + 2
    return Box(area.x + area.width - width, top, width, LINE_HEIGHT)


def _marks(
    shown: Sequence[Shown],
    told: Callable[[Shown], str],
    across: Callable[[float], float],
    down: Callable[[float], float],
    best: set[str],
    area: Box,
    taken: Sequence[Box],
) -> list[Mark]:
    points = [(across(each.cost), down(each.quality)) for each in shown]
    boxes = placed([each.label for each in shown], points, RADIUS, area, taken)
    return [
        Mark(
            name=each.name,
            label=each.label,
            told=told(each),
            x=x,
            y=y,
            text_x=round(box.anchored(x)[0], 1),
            text_y=round(box.y, 1),
            anchor=box.anchored(x)[1],
            on_front=each.name in best,
            lead=_lead(box, x, y),
        )
        for each, (x, y), box in zip(shown, points, boxes, strict=True)
    ]


def _lead(box: Box, x: float, y: float) -> tuple[float, float, float, float] | None:
    if box.around(x, y) <= RADIUS + LED_FROM:
        return None
    near_x = min(max(x, box.x), box.x + box.width)
    near_y = min(max(y, box.y), box.y + box.height)
    return x, y, round(near_x, 1), round(near_y, 1)
