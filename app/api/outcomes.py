"""How a run ended and what it took, as JSON; starting it again, letting a held one go on."""

from collections.abc import Mapping, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header
from sqlalchemy.orm import Session
from starlette.responses import Response

from app import clock
from app.api.reply import Body, Json, told
from app.api.shapes import Shape, queue_json, run_links
from app.database import after_commit
from app.metrics import store
from app.metrics.store import LatestValue
from app.models import Artifact, Attempt, Run, RunEvent, User
from app.runs import lifecycle
from app.runs.beside import keys_read
from app.runs.choices import SAME
from app.runs.dispatch import fill_devices
from app.runs.ending import ending_of
from app.runs.labs_of import lab_of
from app.runs.memory_card import memory_card
from app.runs.resubmit import resubmit
from app.runs.stages import stage_lines
from app.runs.submit import settled
from app.runs.time_card import time_card
from app.runs.untouched import untouched_of
from app.security import Actor, Writer

router = APIRouter(prefix="/runs/{run_id}")


class Resubmission(Body):
    """Which of the offered variants to queue; `same` for the same parameters."""

    variant: str = SAME


SAME_PARAMETERS = Resubmission()


@router.post("/resubmission", status_code=201)
def resubmit_run(
    session: Writer,
    actor: Actor,
    run_id: UUID,
    body: Resubmission = SAME_PARAMETERS,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Queue an ended run again in one of the shapes that its `next` lists."""
    found = resubmit(session, actor, run_id, body.variant, idempotency_key)
    run = settled(session, found.run)
    started = {
        "id": run.id,
        "state": run.state,
        "retry_of": run.retry_of_id,
        "place": {"kept": run.retry_of_id == run_id, "reason": told(found.reason)},
        "queue": queue_json(run),
        "links": run_links(run),
    }
    return Json(started, 201, {"Location": run_links(run)["self"]})


@router.post("/release")
def release_run(session: Writer, actor: Actor, run_id: UUID) -> Response:
    """Let a held run try again, at its old place in the queue."""
    lifecycle.release_held(session, run_id, actor)
    after_commit(session, fill_devices)
    run = session.get_one(Run, run_id)
    return Json({"id": run_id, "state": run.state, "links": run_links(run)})


def outcome_json(
    session: Session,
    actor: User,
    run: Run,
    events: Sequence[RunEvent],
    attempts: Sequence[Attempt],
    artifacts: Sequence[Artifact],
    latest: Mapping[str, LatestValue],
) -> Shape:
    """Why it ended with what to do next, and memory and time beside their estimates."""
    now = clock.now()
    ending = ending_of(session, actor, run, attempts, artifacts, latest)
    lab = lab_of(run)
    stages = stage_lines(run, lab, events, now)
    frame = store.read(session, run.id, keys_read(lab))
    untouched = untouched_of(session, actor, run, artifacts, frame)
    return {
        "explanation": ending.as_json() if ending else None,
        "untouched_model": untouched.as_json() if untouched else None,
        "memory": memory_card(run, attempts, latest).as_json(),
        "time": time_card(run, attempts, stages, latest, now).as_json(),
        "retry_of": run.retry_of_id,
    }
