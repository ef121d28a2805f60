"""A metric against what was varied: points along one parameter, a map over two."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

from app.forms import as_text
from app.models import RunState

# Colours of the map, from the worst value to the best.
LEVELS = 10
# Numbers that reach over so large a ratio are drawn by their logarithms.
LOG_FROM_RATIO = 20
MOST_TICKS = 7
# Where points are drawn, in percent of the picture.
LEFT, RIGHT, TOP, BOTTOM = 5.0, 95.0, 12.0, 90.0
# A map with fewer of its cells filled says less than points.
FILLED = 0.5


@dataclass(frozen=True, slots=True)
class Result:
    """A run as a picture needs it: its place on each axis, its value in number and words.

    One that failed or was cancelled has no value here: it came to nothing that counts.
    """

    run_id: UUID
    name: str
    at: tuple[Any, ...]
    value: float | None
    text: str
    state: RunState
    is_best: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A run in a picture, in percent of its width and height."""

    result: Result
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Points:
    """One metric along one parameter. Rendered by sweeps/show/_pictures.html.

    Attributes:
        ticks: Places and texts along the parameter.
        lines: Pairs of points to join, of numbers alone.
        lowest, highest: The ends of the metric's axis, with their height in percent.
    """

    title: str
    is_log: bool
    points: Sequence[Point]
    ticks: Sequence[tuple[float, str]]
    lines: Sequence[tuple[Point, Point]]
    lowest: tuple[float, float]
    highest: tuple[float, float]


@dataclass(frozen=True, slots=True)
class MapCell:
    """A combination: the run there, if any, and how good it is from 0 to `LEVELS`."""

    result: Result | None
    level: int | None


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One metric over two parameters. Rendered by sweeps/show/_pictures.html."""

    columns_title: str
    rows_title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[MapCell]]]


def points_along(title: str, results: Sequence[Result], place: int) -> Points | None:
    """The results along one parameter; None until two of them have a value."""
    known = [each for each in results if each.value is not None and math.isfinite(each.value)]
    if len(known) < 2:
        return None
    stops = ordered([each.at[place] for each in results])
    across, is_log = _across(stops)
    low, high = _ends(known)
    placed = [
        Point(each, across(each.at[place]), _share(each.value, low, high, BOTTOM, TOP))
        for each in sorted(known, key=lambda each: stops.index(each.at[place]))
    ]
    return Points(
        title=title,
        is_log=is_log,
        points=placed,
        ticks=[(across(stop), as_text(stop) or "–") for stop in _few(stops)],
        lines=_joined(placed) if _are_numbers(stops) else [],
        lowest=(low, BOTTOM if low < high else (TOP + BOTTOM) / 2),
        highest=(high, TOP),
    )


def map_over(titles: Sequence[str], results: Sequence[Result], higher: bool) -> HeatMap | None:
    """The results as a table; None where most of its cells would be empty."""
    rows, columns = (ordered([each.at[place] for each in results]) for place in (0, 1))
    if len(results) < FILLED * len(rows) * len(columns):
        return None
    found = {(str(each.at[0]), str(each.at[1])): each for each in results}
    known = [each for each in results if each.value is not None and math.isfinite(each.value)]
    low, high = _ends(known) if known else (0.0, 0.0)

    def cell(row: Any, column: Any) -> MapCell:
        result = found.get((str(row), str(column)))
        return MapCell(result, _level(result, low, high, higher) if result else None)

    return HeatMap(
        columns_title=titles[1],
        rows_title=titles[0],
        columns=[as_text(each) or "–" for each in columns],
        rows=[(as_text(row) or "–", [cell(row, each) for each in columns]) for row in rows],
    )


def ordered(values: Sequence[Any]) -> list[Any]:
    """Each value once: numbers by size, others as they came."""
    unique = list({str(value): value for value in values}.values())
    return sorted(unique) if _are_numbers(unique) else unique


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def _across(stops: Sequence[Any]) -> tuple[Callable[[Any], float], bool]:
    """Where a value stands from left to right, and whether by its logarithm."""
    if not _are_numbers(stops) or len(stops) < 2:
        names = [str(stop) for stop in stops]
        last = max(1, len(stops) - 1)
        return lambda value: _share(names.index(str(value)), 0, last, LEFT, RIGHT), False
    first, last = stops[0], stops[-1]
    if first > 0 and last / first >= LOG_FROM_RATIO:
        ends = math.log(first), math.log(last)
        return lambda value: _share(math.log(value), *ends, LEFT, RIGHT), True
    return lambda value: _share(value, first, last, LEFT, RIGHT), False


def _share(value: float | None, low: float, high: float, start: float, end: float) -> float:
    assert value is not None, "only known values are placed"
    share = (value - low) / (high - low) if high > low else 0.5
    return round(start + (end - start) * share, 2)


def _ends(known: Sequence[Result]) -> tuple[float, float]:
    values = [each.value for each in known if each.value is not None]
    return min(values), max(values)


def _few(stops: Sequence[Any]) -> list[Any]:
    """The first, the last and some between, so that their texts do not meet."""
    if len(stops) <= MOST_TICKS:
        return list(stops)
    wide = (len(stops) - 1) / (MOST_TICKS - 1)
    return [stops[round(wide * each)] for each in range(MOST_TICKS)]


def _joined(placed: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Neighbours; where several runs share a place, the line would be no function of it."""
    if len({point.x for point in placed}) < len(placed):
        return []
    return list(pairwise(placed))


def _level(result: Result, low: float, high: float, higher: bool) -> int | None:
    value = result.value
    if value is None or not math.isfinite(value):
        return None
    share = (value - low) / (high - low) if high > low else 1.0
    return round(LEVELS * (share if higher or high == low else 1 - share))
