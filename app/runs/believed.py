"""What a run's events show, as far as it has the shape of its kind.

A trainer runs code of labs, so nothing of a payload is believed but its name: what has not the
shape of its kind is not shown, and a number that no picture can hold is a gap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.drawing.plot import Dot, PlotAxis, Row, Style

Json = Mapping[str, Any]
STYLES: Mapping[str, Style] = {"line": "line", "bars": "bars", "points": "points"}
# Values beyond these are no figure of anything that a lab measures.
SMALLEST, LARGEST = 1e-100, 1e100
MOST_SERIES = 16
LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class PlotData:
    """A plot's values.

    Attributes:
        unseen: How many series are left out, because one picture holds no more.
    """

    name: str
    title: str
    style: Style
    x: PlotAxis
    y: PlotAxis
    rows: Sequence[Row]
    unseen: int


def finite(value: Any) -> float | None:
    """A number that can be drawn; None for anything else, such as "NaN"."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number) or abs(number) > LARGEST:
        return None
    return 0.0 if abs(number) < SMALLEST else number


def plot_data(payload: Json) -> PlotData | None:
    """The values of a plot event; None where it has no shape of one."""
    series = payload.get("series")
    style = STYLES.get(str(payload.get("style")))
    if style is None or not isinstance(series, list):
        return None
    rows = [_row(each) for each in series if isinstance(each, dict)]
    return PlotData(
        name=text(payload.get("name")),
        title=text(payload.get("title")),
        style=style,
        x=_scale(payload.get("x")),
        y=_scale(payload.get("y")),
        rows=rows[:MOST_SERIES],
        unseen=max(0, len(rows) - MOST_SERIES),
    )


def table_payload(payload: Json) -> dict[str, Any] | None:
    """A table whose rows are as long as its columns; None for anything else."""
    columns, rows = _columns(payload), payload.get("rows")
    if not columns or not isinstance(rows, list):
        return None
    kept = [row[: len(columns)] for row in rows if isinstance(row, list)]
    return {**_named(payload), "columns": columns, "rows": kept}


def samples_payload(payload: Json) -> dict[str, Any] | None:
    """Answers by the key of their column; None for anything else."""
    columns, rows = _columns(payload), payload.get("rows")
    if not columns or not isinstance(rows, list):
        return None
    kept = [row for row in rows if isinstance(row, dict)]
    return {**_named(payload), "columns": columns, "rows": kept}


def heatmap_payload(payload: Json) -> dict[str, Any] | None:
    """A matrix with names for its rows and columns; None for anything else."""
    x, y, values = (payload.get(name) for name in ("x", "y", "values"))
    if not (isinstance(x, list) and isinstance(y, list) and isinstance(values, list)):
        return None
    if not x or not y:
        return None
    rows = [[finite(value) for value in row[: len(x)]] for row in values if isinstance(row, list)]
    names = {"x": list(map(text, x)), "y": list(map(text, y)), "unit": text(payload.get("unit"))}
    return {**_named(payload), **names, "values": rows[: len(y)]}


def text(value: Any) -> str:
    """A text of a payload, short enough for a heading."""
    return "" if value is None else str(value)[:LONGEST_TEXT]


def _named(payload: Json) -> dict[str, str]:
    return {"name": text(payload.get("name")), "title": text(payload.get("title"))}


def _columns(payload: Json) -> list[dict[str, str]]:
    found = payload.get("columns")
    if not isinstance(found, list):
        return []
    return [
        {name: text(each.get(name)) for name in ("key", "title", "unit")}
        for each in found
        if isinstance(each, dict)
    ]


def _scale(told: Any) -> PlotAxis:
    if not isinstance(told, dict):
        return PlotAxis("", "", False)
    return PlotAxis(text(told.get("title")), text(told.get("unit")), told.get("log") is True)


def _row(told: Json) -> Row:
    """As many values as both lists have; a value without a place on the x axis is left out."""
    xs, ys, labels = (_list(told.get(name)) for name in ("xs", "ys", "labels"))
    named = [*labels, *([""] * max(0, len(xs) - len(labels)))]
    placed = ((finite(x), finite(y), text(name)) for x, y, name in zip(xs, ys, named, strict=False))
    return Row(text(told.get("name")), [Dot(x, y, name) for x, y, name in placed if x is not None])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
