"""Runs beside each other as JSON: what was varied, series on common steps, the newest values."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Query
from starlette.responses import Response

from app.api.reply import Json
from app.api.scoreboards import tradeoff_json
from app.api.series import number
from app.api.shapes import run_line
from app.compare.pareto import Pareto, pareto_of
from app.compare.routes import run_ids
from app.compare.views import all_metrics
from app.metrics import store
from app.metrics.downsample import min_max
from app.metrics.store import LatestValue, MetricFrame
from app.models import Run
from app.runs import queries
from app.runs.labs_of import lab_of
from app.security import Actor, Reader

router = APIRouter()
MOST_POINTS = 10_000
INPUTS = ("lab", "base_model", "dataset", "seed", "stages", "code_version")


@router.get("/compare")
def compare(
    session: Reader,
    actor: Actor,
    runs: Annotated[list[str], Query(default_factory=list)],
    points: Annotated[int, Query(ge=1, le=MOST_POINTS)] = 1000,
    quality: str = "",
    cost: str = "",
) -> Response:
    found = [queries.get_run(session, actor, run_id) for run_id in run_ids(runs)]
    frames = {run.id: store.read(session, run.id) for run in found}
    latest = store.latest(session, [run.id for run in found])
    keys = sorted({key for frame in frames.values() for key in frame.columns})
    return Json(
        {
            "runs": [run_line(run) for run in found],
            "varied": varied(found),
            "series": {key: aligned(frames, key, points) for key in keys},
            "summary": [_summary(found, latest, key) for key in keys],
            "tradeoff": _tradeoff(pareto_of(session, found, quality, cost)),
        }
    )


def _tradeoff(pareto: Pareto | None) -> dict[str, Any] | None:
    """The front of one quality against one cost, by ids of runs; null where nothing compares."""
    if pareto is None:
        return None
    return {**tradeoff_json(pareto.tradeoff), "judged_otherwise": list(pareto.apart)}


def varied(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Inputs and parameters that are not the same in all runs, in the order of `runs`."""
    rows = [_told(run) for run in runs]
    names = dict.fromkeys(name for row in rows for name in row)
    listed = [{"name": name, "values": [row.get(name) for row in rows]} for name in names]
    return [each for each in listed if any(value != each["values"][0] for value in each["values"])]


def _told(run: Run) -> dict[str, Any]:
    inputs = {name: getattr(run, name) for name in INPUTS}
    inputs |= {"base_model": run.base_model.name, "dataset": run.dataset.name}
    return {**inputs, **{f"params.{name}": value for name, value in run.params.items()}}


def aligned(frames: Mapping[UUID, MetricFrame], key: str, points: int) -> dict[str, Any]:
    """One key of all runs on common steps; null where a run has no value at a step."""
    series = {run_id: frame.series(key) for run_id, frame in frames.items()}
    chosen = [min_max(*each, points)[0] for each in series.values()]
    steps = np.unique(np.concatenate(chosen))
    return {
        "steps": steps,
        "values": {str(run_id): _at(steps, *each) for run_id, each in series.items()},
    }


def _at(steps: Any, own_steps: Any, values: Any) -> list[float | str | None]:
    """A run's values at these steps; of several at one step the newest."""
    known = dict(zip(own_steps.tolist(), values.tolist(), strict=True))
    return [number(known.get(step)) for step in steps.tolist()]


def _summary(
    runs: Sequence[Run], latest: Mapping[UUID, Mapping[str, LatestValue]], key: str
) -> dict[str, Any]:
    metric = all_metrics([lab_of(run) for run in runs]).metric(key)
    values = [latest[run.id].get(key) for run in runs]
    return {
        "key": key,
        "title": metric.title,
        "unit": metric.unit,
        "direction": metric.direction,
        "values": [number(value.value) if value else None for value in values],
    }
