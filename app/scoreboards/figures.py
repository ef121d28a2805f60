"""The figures of runs, read from what they logged. Nothing here is estimated."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.metrics.chunk import Floats
from app.metrics.store import LatestValue, MetricFrame, latest, read
from app.models import Artifact, Run
from app.runs.labs_of import lab_of
from app.scoreboards.columns import COLUMNS, Column, How
from labs.contract import Lab

WHOLE_SERIES = frozenset({How.KEPT, How.MEDIAN, How.SUM})


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, in its metric's unit; `base` is the untouched model's, where it has one.

    Attributes:
        step: At which optimizer step it was measured.
        count: How many values it was made of.
    """

    value: float
    base: float | None = None
    step: int | None = None
    count: int = 1


Figures = Mapping[str, Figure]


def figures_of(session: Session, runs: Sequence[Run]) -> dict[UUID, dict[str, Figure]]:
    """The figures of each run by column; without those that were not measured or are no number."""
    ids = [run.id for run in runs]
    values, kept = latest(session, ids), _kept_steps(session, ids)
    found = {}
    for run in runs:
        lab = lab_of(run)
        frame = read(session, run.id, keys=_keys(lab, values[run.id]))
        each = ((c, _figure(c, lab, values[run.id], frame, kept.get(run.id))) for c in COLUMNS)
        found[run.id] = {column.name: figure for column, figure in each if figure is not None}
    return found


def _kept_steps(session: Session, ids: Sequence[UUID]) -> dict[UUID, int]:
    """The step whose weights the first artifact of each run holds: training leaves it."""
    first = select(Artifact.run_id, func.min(Artifact.created_at).label("at"))
    earliest = first.where(Artifact.run_id.in_(ids)).group_by(Artifact.run_id).subquery()
    kept = select(Artifact.run_id, Artifact.step).join(
        earliest,
        (Artifact.run_id == earliest.c.run_id) & (Artifact.created_at == earliest.c.at),
    )
    return dict(session.execute(kept).all())


def _keys(lab: Lab, values: Mapping[str, LatestValue]) -> list[str]:
    return [c.key_of(lab) for c in COLUMNS if c.how in WHOLE_SERIES and c.key_of(lab) in values]


def _figure(
    column: Column,
    lab: Lab,
    values: Mapping[str, LatestValue],
    frame: MetricFrame,
    kept: int | None,
) -> Figure | None:
    found = values.get(column.key_of(lab))
    if found is None:
        return None
    if column.how is How.HIGHEST:
        figure = None if found.maximum is None else Figure(found.maximum, step=found.step)
    elif column.how is How.NEWEST:
        figure = Figure(found.value, _base(column, found, values), found.step)
    elif column.how is How.KEPT:
        figure = _at_step(column, found, values, frame, kept, column.key_of(lab))
    else:
        figure = _of_all(column.how, frame.series(column.key_of(lab))[1], found.step)
    return figure if figure is not None and math.isfinite(figure.value) else None


def _base(column: Column, found: LatestValue, values: Mapping[str, LatestValue]) -> float | None:
    """Of the untouched model, which is measured first."""
    if column.base is None:
        return None
    if column.base == "":
        return found.first if math.isfinite(found.first) else None
    named = values.get(column.base)
    return named.value if named is not None and math.isfinite(named.value) else None


def _at_step(
    column: Column,
    found: LatestValue,
    values: Mapping[str, LatestValue],
    frame: MetricFrame,
    kept: int | None,
    key: str,
) -> Figure:
    """At the step that was kept; while nothing is kept, the newest."""
    steps, series = frame.series(key)
    at = np.flatnonzero(steps == kept) if kept is not None else steps[:0]
    base = _base(column, found, values)
    if not len(at):
        return Figure(found.value, base, found.step)
    return Figure(float(series[at[-1]]), base, kept)


def _of_all(how: How, series: Floats, step: int) -> Figure | None:
    finite = series[np.isfinite(series)]
    if not finite.size:
        return None
    made = np.median(finite) if how is How.MEDIAN else finite.sum()
    return Figure(float(made), step=step, count=int(finite.size))
