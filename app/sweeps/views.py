"""The page of a sweep: what its template is given."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.access import Action, can
from app.compare.address import MOST_RUNS as MOST_COMPARED
from app.compare.address import address as compare_address
from app.compare.colours import Mark, marks
from app.forms import as_text
from app.groups.progress import Progress, progress_of
from app.models import Run, RunGroup, User
from app.runs.charts import Chart, Line, chart_of, embedded, series_of
from app.runs.ending import cause_title
from app.runs.measure import measured
from app.runs.queries import may_open
from app.runs.stages import progress_fraction
from app.sweeps.found import Axis, Found, find
from app.sweeps.pictures import HeatMap, Points, Result, map_over, points_along
from app.sweeps.results import NO_RESULT, Best, Outcome
from labs.contract import Lab, Metric

# Of each run; they share the picture.
POINTS = 300


@dataclass(frozen=True, slots=True)
class SweepLine:
    """One run of a sweep in its table.

    Attributes:
        at: The run's value of each varied parameter.
        failure: Why it ended early, where it did.
    """

    run: Run
    mark: Mark
    at: tuple[Any, ...]
    told: Sequence[str]
    fraction: float | None
    outcome: Outcome
    final: str
    best: str
    is_best: bool
    failure: str


@dataclass(frozen=True, slots=True)
class View:
    """How the page is looked at; all of it stands in the address.

    Attributes:
        metric: The key of the metric that runs are judged by.
        sort: The column that the table is sorted by, with "-" before it for the largest first.
    """

    sweep: UUID
    metric: str
    sort: str

    def address(self, **changes: str) -> str:
        """This page with these choices and changes."""
        values = {"metric": self.metric, "sort": self.sort, **changes}
        asked = urlencode({name: value for name, value in values.items() if value})
        return f"/sweeps/{self.sweep}?{asked}"


@dataclass(frozen=True, slots=True)
class SweepPage:
    """One sweep, live. Rendered by sweeps/show.html; its blocks `status` and `curves` also alone.

    Attributes:
        compared: The address that compares its runs, the best of them where they are many.
    """

    group: RunGroup
    lab: Lab
    axes: Sequence[Axis]
    progress: Progress
    lines: Sequence[SweepLine]
    metric: Metric
    metrics: Sequence[Metric]
    best: Best | None
    best_line: SweepLine | None
    points: Sequence[Points]
    heat_map: HeatMap | None
    chart: Chart
    data: Markup
    source: str
    view: View
    compared: str
    all_compared: bool
    may_open_dataset: bool
    may_cancel: bool


@dataclass(frozen=True, slots=True)
class CancelSweepPage:
    """Asks once more before a sweep is cancelled. Rendered by sweeps/cancel.html."""

    group: RunGroup
    progress: Progress


def sweep_page(
    session: Session, actor: User, group: RunGroup, metric: str = "", sort: str = ""
) -> SweepPage:
    found = find(session, actor, group, metric)
    lines = _lines(found)
    progress = progress_of(found.runs)
    compared = _best_first(found, lines)[:MOST_COMPARED]
    chart = chart_of(found.lab, found.metric.key)
    points, heat_map = _pictures(found, lines)
    return SweepPage(
        group=group,
        lab=found.lab,
        axes=found.axes,
        progress=progress,
        lines=_sorted(lines, sort),
        metric=found.metric,
        metrics=found.metrics,
        best=found.best,
        best_line=next((line for line in lines if line.is_best), None),
        points=points,
        heat_map=heat_map,
        chart=chart,
        data=_data(found, lines, chart),
        source=" ".join(f"/api/v1/runs/{run.id}/metrics#{run.id}:" for run in found.runs),
        view=View(group.id, found.metric.key, sort),
        compared=compare_address([line.run.id for line in compared]),
        all_compared=len(compared) == len(lines),
        may_open_dataset=may_open(session, actor, found.runs[0].dataset_id),
        may_cancel=not progress.is_over and can(actor, Action.CANCEL_RUN, group.owner_id),
    )


def _lines(found: Found) -> list[SweepLine]:
    marked = marks([run.id for run in found.runs])
    unit = found.metric.unit
    return [
        SweepLine(
            run=run,
            mark=marked[run.id],
            at=found.at(run),
            told=[as_text(value) or "–" for value in found.at(run)],
            fraction=progress_fraction(run),
            outcome=(outcome := found.outcomes[run.id]),
            final=measured(outcome.final, unit),
            best=measured(outcome.best, unit),
            is_best=found.best is not None and found.best.run_id == run.id,
            failure=cause_title(run),
        )
        for run in found.runs
    ]


def _sorted(lines: Sequence[SweepLine], sort: str) -> list[SweepLine]:
    """By a column: `0` and `1` are the varied parameters; in their places for any other name."""
    keys: dict[str, Callable[[SweepLine], Any]] = {
        "0": lambda line: line.at[0],
        "1": lambda line: line.at[-1],
        "state": lambda line: line.run.state.value,
        "final": lambda line: line.outcome.final,
        "best": lambda line: line.outcome.best,
    }
    key = keys.get(sort.removeprefix("-"))
    if key is None:
        return list(lines)
    known = [line for line in lines if _is_known(key(line))]
    missing = [line for line in lines if not _is_known(key(line))]
    if any(isinstance(key(line), str | list) for line in known):
        known.sort(key=lambda line: as_text(key(line)), reverse=sort.startswith("-"))
    else:
        known.sort(key=key, reverse=sort.startswith("-"))
    return [*known, *missing]


def _is_known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _best_first(found: Found, lines: Sequence[SweepLine]) -> list[SweepLine]:
    """Those worth a look, the best of them first; those without a value last."""
    higher = found.metric.direction == "higher"

    def rank(line: SweepLine) -> tuple[bool, bool, float]:
        value = line.outcome.best
        return (
            value is None,
            not line.is_best,
            0 if value is None else -value if higher else value,
        )

    return sorted(lines, key=rank)


def _pictures(found: Found, lines: Sequence[SweepLine]) -> tuple[list[Points], HeatMap | None]:
    results = [_result(line) for line in lines]
    titles = [axis.title for axis in found.axes]
    if len(titles) == 2:
        heat_map = map_over(titles, results, found.metric.direction == "higher")
        if heat_map is not None:
            return [], heat_map
    drawn = [points_along(title, results, place) for place, title in enumerate(titles)]
    return [each for each in drawn if each is not None], None


def _result(line: SweepLine) -> Result:
    run = line.run
    value = None if run.state in NO_RESULT else line.outcome.final
    return Result(run.id, run.name, line.at, value, line.final, run.state, line.is_best)


def _data(found: Found, lines: Sequence[SweepLine], chart: Chart) -> Markup:
    key = found.metric.key
    drawn = [
        Line(
            id=f"{line.run.id}:{key}",
            chart=chart.name,
            label=_label(found.axes, line),
            color=line.mark.colour,
            dash=line.mark.dash,
        )
        for line in lines
        if key in found.frames[line.run.id].columns
    ]
    frames = {f"{run_id}:{key}": frame for run_id, frame in found.frames.items()}
    return embedded(drawn, {each.id: series_of(frames[each.id], key, POINTS) for each in drawn})


def _label(axes: Sequence[Axis], line: SweepLine) -> str:
    pairs = zip(axes, line.told, strict=True)
    return ", ".join(f"{axis.parameter} {told}" for axis, told in pairs)
