"""Fill the devices: read the state of the world, let `scheduling` choose, write it down, ring."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import broker, clock
from app.database import reading, transaction
from app.devices.queries import takes_runs
from app.models import Attempt, Device, Run, RunState
from app.runs import lifecycle, scheduling
from app.runs.places import Live, Place, Waiting
from app.runs.scheduling import Explanation, Plan

log = logging.getLogger(__name__)
Json = dict[str, Any]
# Device time counts half as much after each of these.
HALF_LIFE = timedelta(hours=1)
REMEMBERED = 8 * HALF_LIFE
# Expected starts are told to this precision, so that rows change only when it matters.
PRECISION_SECONDS = 30


def fill_devices() -> int:
    """Give waiting runs to devices that have room; returns how many were given.

    Safe to call from anywhere, at any time, by several processes at once. A busy or absent
    database or broker only delays the runs: the housekeeper calls again every second.
    """
    try:
        if not _anybody_waits():
            return 0
        with transaction() as session:
            bells = place_waiting_runs(session, clock.now())
    except SQLAlchemyError:
        log.warning("devices not filled: the database is busy or away", exc_info=True)
        return 0
    ring_all(bells)
    return len(bells)


def ring_all(bells: Sequence[tuple[UUID, int, str]]) -> None:
    """Ring for each; after a missed bell the rest wait for the housekeeper."""
    for run_id, attempt, device in bells:
        if not broker.ring(run_id, attempt, device):
            return


def place_waiting_runs(session: Session, now: datetime) -> list[tuple[UUID, int, str]]:
    """Assign what fits and explain the rest; returns the bells to ring after the commit."""
    # On Postgres this keeps two dispatchers apart; SQLite has one writer anyway.
    devices = session.scalars(select(Device).order_by(Device.name).with_for_update()).all()
    waiting = session.scalars(select(Run).where(Run.state == RunState.QUEUED)).all()
    places = _places(session, [device for device in devices if takes_runs(device, now)])
    plan = scheduling.choose([_waiting(run) for run in waiting], places, usage(session, now), now)
    _explain(session, waiting, plan.explanations)
    return _assign(session, plan)


def usage(session: Session, now: datetime) -> Mapping[UUID, float]:
    """Device-seconds of each person, halved for every hour that has passed since."""
    rows = session.execute(
        select(Run.owner_id, Attempt.started_at, Attempt.finished_at)
        .join(Run, Run.id == Attempt.run_id)
        .where(
            Attempt.started_at.is_not(None),
            Attempt.finished_at.is_(None) | (Attempt.finished_at > now - REMEMBERED),
        )
    )
    used: dict[UUID, float] = defaultdict(float)
    for owner, started_at, finished_at in rows:
        assert started_at is not None
        end = finished_at or now
        seconds = max(0.0, (end - started_at).total_seconds())
        used[owner] += float(seconds * 0.5 ** ((now - end) / HALF_LIFE))
    return used


def _anybody_waits() -> bool:
    with reading() as session:
        return (
            session.scalar(select(Run.id).where(Run.state == RunState.QUEUED).limit(1)) is not None
        )


def _places(session: Session, devices: Sequence[Device]) -> list[Place]:
    live = session.scalars(
        select(Run).where(Run.state.in_([RunState.ASSIGNED, RunState.RUNNING])).order_by(Run.id)
    )
    on_device: dict[str | None, list[Live]] = defaultdict(list)
    for run in live:
        on_device[run.device].append(
            Live(run.id, run.owner_id, memory_need(run.estimate), _ends(run))
        )
    return [
        Place(each.name, each.kind, each.memory_bytes, each.slots, tuple(on_device[each.name]))
        for each in devices
    ]


def _waiting(run: Run) -> Waiting:
    return Waiting(
        run.id, run.owner_id, run.queued_at, memory_need(run.estimate), _seconds(run.estimate)
    )


def memory_need(estimate: Mapping[str, Any]) -> int:
    """The bytes a run is given room for."""
    return int(estimate.get("memory_bytes", 0))


def _seconds(estimate: Mapping[str, Any]) -> tuple[float, float] | None:
    expected = estimate.get("seconds")
    return (float(expected[0]), float(expected[1])) if expected else None


def _ends(run: Run) -> tuple[datetime, datetime] | None:
    expected = _seconds(run.estimate)
    if expected is None or run.assigned_at is None:
        return None
    low, high = (run.assigned_at + timedelta(seconds=seconds) for seconds in expected)
    return low, high


def _assign(session: Session, plan: Plan) -> list[tuple[UUID, int, str]]:
    bells = []
    for chosen in plan.assignments:
        try:
            attempt = lifecycle.assign(session, chosen.run, chosen.device, chosen.reason)
        except lifecycle.IllegalTransition:
            continue  # cancelled since it was read, which only Postgres allows
        bells.append((chosen.run, attempt, chosen.device))
    return bells


def _explain(
    session: Session, waiting: Sequence[Run], explanations: Mapping[UUID, Explanation]
) -> None:
    for run in waiting:
        if (explanation := explanations.get(run.id)) is None:
            continue
        told = {
            "position": explanation.position,
            "reason": explanation.reason,
            "expected_start": _range(explanation.expected_start),
        }
        if told != {
            "position": run.position,
            "reason": run.reason,
            "expected_start": run.expected_start,
        }:
            session.execute(
                update(Run)
                .where(Run.id == run.id, Run.state == RunState.QUEUED)
                .values(told)
                .execution_options(synchronize_session=False)
            )


def _range(expected: tuple[datetime, datetime] | None) -> Json | None:
    if expected is None:
        return None
    return {"earliest": _rounded(expected[0]), "latest": _rounded(expected[1])}


def _rounded(moment: datetime) -> str:
    seconds = round(moment.timestamp() / PRECISION_SECONDS) * PRECISION_SECONDS
    return datetime.fromtimestamp(seconds, tz=moment.tzinfo).isoformat()
