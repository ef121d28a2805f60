"""Tables, samples and heatmaps that a run has shown; the same name replaces the earlier one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.models import RunEvent

KINDS = ("table", "samples", "heatmap")
# More cells than this are drawn without their values as text.
MOST_LABELLED_CELLS = 1024
MOST_CELLS = 16_384


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a heatmap: its place, its value and how strongly it is coloured (0 to 1)."""

    x: int
    y: int
    value: float | None
    strength: float


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A matrix as colours. Rendered by macros/shown.html."""

    name: str
    title: str
    x: Sequence[str]
    y: Sequence[str]
    unit: str
    lowest: float
    highest: float
    cells: Sequence[Cell]
    rows: Sequence[Sequence[Any]]
    labelled: bool
    cut: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What a run's stages wanted to be seen, the newest first."""

    tables: Sequence[dict[str, Any]]
    samples: Sequence[dict[str, Any]]
    heatmaps: Sequence[Heatmap]


def shown(events: Sequence[RunEvent]) -> Shown:
    newest: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    for event in events:
        if event.kind in KINDS:
            newest[event.kind][str(event.payload.get("name"))] = event.payload
    return Shown(
        tables=list(newest["table"].values())[::-1],
        samples=list(newest["samples"].values())[::-1],
        heatmaps=[_heatmap(payload) for payload in newest["heatmap"].values()][::-1],
    )


def _heatmap(payload: dict[str, Any]) -> Heatmap:
    width = max(1, len(payload["x"]))
    rows = payload["values"][: max(1, MOST_CELLS // width)]
    numbers = [value for row in rows for value in row if isinstance(value, int | float)]
    lowest, highest = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    cells = [
        Cell(x, y, _number(value), _strength(value, lowest, highest))
        for y, row in enumerate(rows)
        for x, value in enumerate(row)
    ]
    return Heatmap(
        name=payload["name"],
        title=payload["title"],
        x=payload["x"],
        y=payload["y"][: len(rows)],
        unit=payload.get("unit", ""),
        lowest=lowest,
        highest=highest,
        cells=cells,
        rows=rows,
        labelled=len(cells) <= MOST_LABELLED_CELLS,
        cut=len(rows) < len(payload["values"]),
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _strength(value: Any, lowest: float, highest: float) -> float:
    if not isinstance(value, int | float):
        return 0.0
    return round((value - lowest) / (highest - lowest), 3) if highest > lowest else 1.0
