"""How long people have used the devices, out of the rows of attempts.

What a site lost for them is not charged: a broken device, a dead worker, a restarted host.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from app import clock
from app.models import Attempt, Run
from labs.contract import Cause

# Device time counts half as much after each of these.
HALF_LIFE = timedelta(hours=1)
REMEMBERED = 8 * HALF_LIFE
NOT_CHARGED = frozenset({Cause.HARDWARE_FAULT, Cause.LOST_WORKER, Cause.HOST_RESTARTED})


def decayed_use(session: Session, now: datetime) -> Mapping[UUID, float]:
    """Device-seconds of each person, halved for every hour that has passed since."""
    used: dict[UUID, float] = defaultdict(float)
    for row in session.execute(_attempts_since(now - REMEMBERED)):
        age = max(0.0, (now - (row.finished_at or now)) / HALF_LIFE)
        used[row.owner_id] += _seconds(row, now) * 0.5**age
    return used


def device_seconds_by_person(
    session: Session, since: datetime, now: datetime, classroom: UUID | None = None
) -> Mapping[UUID, float]:
    """Device-seconds that each person used since then, in all or in one class.

    An attempt that was under way at `since` counts with the part that came after it.
    """
    used: dict[UUID, float] = defaultdict(float)
    statement = _attempts_since(since)
    if classroom is not None:
        statement = statement.where(Run.classroom_id == classroom)
    for row in session.execute(statement):
        within = ((row.finished_at or now) - since).total_seconds()
        used[row.owner_id] += max(0.0, min(_seconds(row, now), within))
    return used


def device_seconds_since(
    session: Session,
    since: datetime,
    *,
    owner: UUID | None = None,
    classroom: UUID | None = None,
    now: datetime | None = None,
) -> float:
    """Device-seconds of a person, of a class, or of a person in a class since then."""
    used = device_seconds_by_person(session, since, now or clock.now(), classroom)
    return sum(used.values()) if owner is None else used.get(owner, 0.0)


AttemptRow = Row[UUID, datetime | None, datetime | None, float]


def _attempts_since(since: datetime) -> Select[UUID, datetime | None, datetime | None, float]:
    return (
        select(Run.owner_id, Attempt.started_at, Attempt.finished_at, Attempt.device_seconds)
        .join(Run, Run.id == Attempt.run_id)
        .where(
            Attempt.started_at.is_not(None),
            Attempt.finished_at.is_(None) | (Attempt.finished_at > since),
            Attempt.cause.is_(None) | Attempt.cause.not_in(NOT_CHARGED),
        )
    )


def _seconds(row: AttemptRow, now: datetime) -> float:
    """By the supervisor's steady clock; by the clock on the wall until that has told anything."""
    if row.device_seconds > 0 or row.started_at is None:
        return float(row.device_seconds)
    return max(0.0, float(((row.finished_at or now) - row.started_at).total_seconds()))
