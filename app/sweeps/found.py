"""A sweep as page and API tell it: what varies, its runs, and what came of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import NotFound
from app.groups.queries import group_runs
from app.i18n import N_, gettext
from app.metrics.store import MetricFrame, latest, read
from app.models import Run, RunGroup, User
from app.runs.labs_of import lab_of
from app.sweeps.results import Best, Outcome, best_of, chosen, judged, outcome_of
from labs.contract import Lab, Metric


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter that varies."""

    parameter: str
    title: str


@dataclass(frozen=True, slots=True)
class Found:
    """The runs of a sweep in their places, and what came of each by one metric."""

    lab: Lab
    axes: Sequence[Axis]
    runs: Sequence[Run]
    frames: Mapping[UUID, MetricFrame]
    metric: Metric
    metrics: Sequence[Metric]
    outcomes: Mapping[UUID, Outcome]
    best: Best | None

    def at(self, run: Run) -> tuple[Any, ...]:
        return tuple(run.params.get(axis.parameter) for axis in self.axes)


def find(session: Session, actor: User, group: RunGroup, metric: str = "") -> Found:
    """The sweep by this metric, or by the lab's headline where nothing else is asked for."""
    runs = group_runs(session, actor, group)
    if not runs:
        raise NotFound(N_("The runs of this sweep are gone."))
    lab = lab_of(runs[0])
    values = latest(session, [run.id for run in runs])
    metrics = judged(lab, values)
    judge = chosen(lab, metrics, metric)
    frames = {run.id: read(session, run.id, [judge.key]) for run in runs}
    outcomes = {run.id: outcome_of(judge, frames[run.id]) for run in runs}
    return Found(
        lab=lab,
        axes=[_axis(lab, each["parameter"]) for each in group.spec["vary"]],
        runs=runs,
        frames=frames,
        metric=judge,
        metrics=metrics,
        outcomes=outcomes,
        best=best_of(lab, judge, runs, outcomes, values),
    )


def _axis(lab: Lab, parameter: str) -> Axis:
    field = lab.params.model_fields.get(parameter)
    return Axis(parameter, gettext(field.title or parameter) if field else parameter)
