"""Runs as JSON: start, list, look, cancel, measure."""

from typing import Annotated, Any
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Header, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.api.groups import group_of
from app.api.lineage import relatives_json
from app.api.outcomes import outcome_json
from app.api.reply import Json
from app.api.same_work import offer_json, same_as_json
from app.api.series import numbers
from app.api.shapes import queue_json, run_json, run_line, run_links
from app.api.work import Work
from app.database import after_commit
from app.errors import FieldError, InvalidInput
from app.i18n import N_
from app.lineage.onward import onward_of
from app.metrics import store
from app.metrics.chunk import Floats, Ints
from app.metrics.downsample import min_max
from app.models import Run, RunState, User
from app.runs import deletion, lifecycle, queries, same_work, taking
from app.runs.dispatch import fill_devices
from app.runs.submit import Submission, settled, submit
from app.security import Actor, Reader, Writer

router = APIRouter(prefix="/runs")

LARGEST_STEP = 2**62
MOST_POINTS = 100_000


class NewRun(Work):
    """What a run is made of; what is left out is the lab's own."""

    name: str = ""
    reuse: bool = False


@router.post("", status_code=201)
def start_run(
    session: Writer,
    actor: Actor,
    body: NewRun,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    run = submit(
        session,
        actor,
        Submission(**_fields(body), idempotency_key=idempotency_key),
    )
    offer, same_as = same_work.offer_for(session, run), same_as_json(session, actor, run)
    run = settled(session, run)
    waits = run.state is RunState.QUEUED
    started = {
        "id": run.id,
        "state": run.state,
        "attempt": run.attempt,
        "queue": queue_json(run),
        "same_work": offer_json(run if waits else None, offer),
        "same_as": same_as,
        "links": run_links(run),
    }
    return Json(started, 201, {"Location": run_links(run)["self"]})


def _fields(body: NewRun) -> dict[str, Any]:
    return {name: getattr(body, name) for name in NewRun.model_fields}


@router.get("")
def list_runs(
    session: Reader,
    actor: Actor,
    state: RunState | None = None,
    lab: str | None = None,
    owner: UUID | None = None,
    classroom: UUID | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=queries.LARGEST_PAGE)] = 50,
) -> Response:
    runs, following = queries.list_runs(
        session,
        actor,
        state=state,
        lab=lab,
        owner=owner,
        classroom=classroom,
        cursor=cursor,
        limit=limit,
    )
    return Json({"runs": [run_line(run) for run in runs], "next_cursor": following})


@router.get("/{run_id}")
def show_run(session: Reader, actor: Actor, run_id: UUID) -> Response:
    return Json(whole_run(session, actor, run_id))


def whole_run(session: Session, actor: User, run_id: UUID) -> dict[str, Any]:
    run = queries.get_run(session, actor, run_id)
    events = queries.events(session, run_id, kinds=["stage"])
    attempts = queries.attempts(session, run_id)
    artifacts = queries.artifacts(session, run_id)
    latest = store.latest(session, [run_id])[run_id]
    told = run_json(run, events, attempts, artifacts, latest)
    onward = onward_of(run, artifacts)
    told["lineage"] |= relatives_json(session, actor, run)
    return {
        **told,
        **outcome_json(session, actor, run, events, attempts, artifacts, latest),
        "same_as": same_as_json(session, actor, run),
        "group": group_of(session, run),
        "onward": onward.as_json() if onward else [],
    }


@router.post("/{run_id}/cancellation", status_code=202)
def cancel_run(session: Writer, actor: Actor, run_id: UUID) -> Response:
    state = lifecycle.request_cancel(session, run_id, actor)
    after_commit(session, fill_devices)
    run = session.get_one(Run, run_id)
    return Json({"id": run_id, "state": state, "links": run_links(run)}, 202)


@router.post("/{run_id}/deletion")
def delete_run(session: Writer, actor: Actor, run_id: UUID) -> Response:
    """Delete a run that is over and that no other was made from; 409 lists those that were."""
    deletion.delete_run(session, actor, run_id)
    return Json({"id": run_id, "deleted": True})


@router.post("/{run_id}/same-work")
def take_same_work(session: Writer, actor: Actor, run_id: UUID) -> Response:
    """Let a waiting run end with the finished result of the same work that it is offered."""
    run = taking.take_offer(session, actor, run_id)
    taken = {
        "id": run_id,
        "state": run.state,
        "same_as": same_as_json(session, actor, run),
        "links": run_links(run),
    }
    return Json(taken)


@router.get("/{run_id}/metrics")
def show_metrics(
    session: Reader,
    actor: Actor,
    run_id: UUID,
    keys: str | None = None,
    points: Annotated[int, Query(ge=1, le=MOST_POINTS)] = 1000,
    first: Annotated[int, Query(alias="from", ge=0, le=LARGEST_STEP)] = 0,
    last: Annotated[int, Query(alias="to", ge=0, le=LARGEST_STEP)] = LARGEST_STEP,
) -> Response:
    """Series thinned out to about `points` each; between two steps with `from` and `to`."""
    if first > last:
        problem = FieldError("from", N_("The window ends before it begins."))
        raise InvalidInput([problem])
    queries.get_run(session, actor, run_id)
    wanted = keys.split(",") if keys else None
    frame = store.read(session, run_id, keys=wanted)
    window = {key: _between(*frame.series(key), first, last) for key in frame.columns}
    series = {key: _thinned(*each, points) for key, each in window.items() if len(each[0])}
    return Json({"series": series})


def _between(steps: Ints, values: Floats, first: int, last: int) -> tuple[Ints, Floats]:
    if first == 0 and last == LARGEST_STEP:
        return steps, values
    inside = (steps >= first) & (steps <= last)
    return steps[inside], values[inside]


def _thinned(steps: Ints, values: Floats, points: int) -> dict[str, Any]:
    kept, chosen = min_max(steps, values, points)
    return {"steps": np.ascontiguousarray(kept), "values": numbers(chosen), "total": len(steps)}
