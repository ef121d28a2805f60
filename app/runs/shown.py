"""Tables, samples, heatmaps and plots that a run has shown; the same name replaces the earlier one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from app.models import RunEvent
from app.runs.believed import heatmap_payload, samples_payload, table_payload
from app.runs.plots import PlotCard, plot_card

KINDS = ("table", "samples", "heatmap", "plot")
# More cells than this are drawn without their values as text.
MOST_LABELLED_CELLS = 1024
MOST_CELLS = 16_384
Found = TypeVar("Found")


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
    plots: Sequence[PlotCard]


def shown(events: Sequence[RunEvent]) -> Shown:
    newest: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    for event in events:
        if event.kind in KINDS:
            newest[event.kind][str(event.payload.get("name"))] = event.payload
    return Shown(
        tables=_read(newest["table"], table_payload),
        samples=_read(newest["samples"], samples_payload),
        heatmaps=_read(newest["heatmap"], _heatmap),
        plots=_read(newest["plot"], plot_card),
    )


def _read(
    newest: Mapping[str, dict[str, Any]], read: Callable[[dict[str, Any]], Found | None]
) -> list[Found]:
    """The newest first, without those that have not the shape of their kind."""
    found = (read(payload) for payload in reversed(list(newest.values())))
    return [each for each in found if each is not None]


def _heatmap(sent: dict[str, Any]) -> Heatmap | None:
    payload = heatmap_payload(sent)
    if payload is None:
        return None
    width = len(payload["x"])
    rows = payload["values"][: max(1, MOST_CELLS // width)]
    numbers = [value for row in rows for value in row if value is not None]
    lowest, highest = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    cells = [
        Cell(x, y, value, _strength(value, lowest, highest))
        for y, row in enumerate(rows)
        for x, value in enumerate(row)
    ]
    return Heatmap(
        name=payload["name"],
        title=payload["title"],
        x=payload["x"],
        y=payload["y"][: len(rows)],
        unit=payload["unit"],
        lowest=lowest,
        highest=highest,
        cells=cells,
        rows=rows,
        labelled=len(cells) <= MOST_LABELLED_CELLS,
        cut=len(rows) < len(payload["values"]),
    )


def _strength(value: float | None, lowest: float, highest: float) -> float:
    if value is None:
        return 0.0
    return round((value - lowest) / (highest - lowest), 3) if highest > lowest else 1.0
