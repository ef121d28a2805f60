"""The queue as JSON: what waits and runs, how full the devices are, everybody's turns and why."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from app import clock
from app.api.reply import Json, told
from app.api.shapes import line_json
from app.models import ClassSession
from app.queue import queries as lines
from app.queue.spans import Span, expected_end
from app.queue.turn import TurnLine, turn_page
from app.queue.views import (
    MOST_HELD,
    DeviceLine,
    classes_in_session,
    device_lines,
    lab_sessions,
    summed,
)
from app.runs import queries
from app.security import Actor, Reader

router = APIRouter()
Shape = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=queries.LARGEST_PAGE)]


@router.get("/queue")
def show_queue(
    session: Reader, actor: Actor, cursor: str | None = None, limit: Limit = 50
) -> Response:
    """What the actor may see of what waits and runs, and how much waits in all.

    `waiting` is a page in the order of turns; `next_cursor` asks for the one after it.
    """
    now = clock.now()
    waiting, following = lines.listed_waiting(session, actor, lines.parse_cursor(cursor), limit)
    return Json(
        {
            "waiting": [_waiting(row) for row in waiting],
            "next_cursor": following and str(following),
            "live": [_live(row, now) for row in lines.listed_live(session, actor)],
            "held": [_listed(row) for row in lines.listed_held(session, actor, MOST_HELD)],
            **_counts(session),
            "sessions": _sessions(session, now),
            "devices": [_device(each) for each in device_lines(session, now)],
            "links": {"line": "/api/v1/queue/line"},
        }
    )


@router.get("/queue/line")
def show_line(
    session: Reader, actor: Actor, cursor: str | None = None, limit: Limit = 50
) -> Response:
    """Everybody's waiting runs in the order of their turns; others' without name, id and reason."""
    found, following = lines.line(session, actor, lines.parse_cursor(cursor), limit)
    in_session = classes_in_session(session, clock.now())
    return Json(
        {
            "line": [_line(row, row.classroom in in_session) for row in found],
            "next_cursor": following and str(following),
            "waiting_total": lines.count_waiting(session),
        }
    )


@router.get("/runs/{run_id}/turn")
def show_turn(session: Reader, actor: Actor, run_id: UUID) -> Response:
    """Every term of a waiting run's turn and of its neighbours; times are in seconds."""
    page = turn_page(session, actor, queries.get_run(session, actor, run_id))
    return Json(
        {
            "terms": [_terms(each) for each in page.lines],
            "waiting_total": page.waiting_total,
            "age_weight": page.age_weight,
            "half_life_seconds": page.half_life_seconds,
        }
    )


def _terms(line: TurnLine) -> Shape:
    terms = line.terms
    return {
        "position": line.place,
        "this": line.is_this,
        "yours": line.is_own,
        "run": _known(terms.run, line.name, line.owner) if line.name else None,
        "session": terms.session,
        "boosted": terms.boosted,
        "turn": terms.turn + 1,
        "used_seconds": terms.used,
        "age_seconds": terms.age,
        "credit_seconds": terms.age_credit,
        "debt_seconds": terms.debt,
    }


def _listed(row: Any) -> Shape:
    return line_json(row, row.owner, row.base_model, row.dataset)


def _waiting(row: Any) -> Shape:
    return {**_listed(row), "boosted": row.boosted_at is not None}


def _live(row: Any, now: datetime) -> Shape:
    return {**_listed(row), "expected_end": _span(expected_end(row, now))}


def _span(span: Span | None) -> Shape | None:
    return {"earliest": span.earliest, "latest": span.latest} if span else None


def _counts(session: Session) -> Shape:
    kinds = lines.waiting_by_kind(session)
    return {
        "waiting_total": sum(runs for _, _, runs in kinds),
        "waiting_by_lab": dict(summed((lab, runs) for lab, _, runs in kinds)),
        "waiting_by_class": dict(summed((name, runs) for _, name, runs in kinds if name)),
    }


def _sessions(session: Session, now: datetime) -> list[Shape]:
    going_on, coming = lab_sessions(session, now)
    return [_session(each, now) for each in [*going_on, *([coming] if coming else [])]]


def _session(each: ClassSession, now: datetime) -> Shape:
    return {
        "class": each.classroom.name,
        "starts_at": each.starts_at,
        "ends_at": each.ends_at,
        "goes_on": each.starts_at <= now,
    }


def _device(line: DeviceLine) -> Shape:
    return {
        "name": line.device.name,
        "state": line.device.state,
        "slots": line.device.slots,
        "slots_taken": line.taken,
        "memory_bytes": line.device.memory_bytes,
        "memory_reserved_bytes": line.used_bytes,
        "trouble": told(dict(line.trouble)) if line.trouble else None,
    }


def _line(row: lines.Row, in_session: bool) -> Shape:
    return {
        "position": row.position,
        "yours": row.is_own,
        "run": _known(row.run, row.name, row.owner) if row.run else None,
        "lab": row.lab,
        "boosted": row.boosted_at is not None,
        "in_session": in_session,
        "queued_at": row.queued_at,
        "expected_start": row.expected_start,
        "reason": told(_dict(row.reason)),
    }


def _known(run: UUID, name: str | None, owner: str | None) -> Shape:
    links = {"self": f"/api/v1/runs/{run}", "page": f"/runs/{run}"}
    return {"id": run, "name": name, "owner": owner, "links": links}


def _dict(reason: Mapping[str, Any] | None) -> Shape | None:
    return dict(reason) if reason else None
