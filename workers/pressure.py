"""A disk that fills up: in steps, so that nothing is torn.

Below the room of the settings nothing new is taken or started; below half of it what runs
saves a checkpoint and is held. When there is room again, the housekeeper queues it anew.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select

from app import clock
from app.database import reading, transaction
from app.models import Attempt, Run, RunState
from app.runs import lifecycle
from app.settings import get_settings
from labs.contract import Cause
from workers.duty import free_bytes

# Of the room that is wanted, so much more must be there before anything goes on.
AGAIN_SHARE = 1.1
STOP_SHARE = 0.5
# A run that found the disk full again and again waits longer each time: a quota may be the cause.
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)
RESUMED_AT_ONCE = 20


def may_start() -> bool:
    """Whether there is room for a run to begin."""
    return _room() >= 1


def may_go_on() -> bool:
    """Whether there is room for what runs."""
    return _room() >= STOP_SHARE


def resume_held() -> int:
    """Queue the runs again that were held for want of room, if there is; returns how many."""
    if _room() < AGAIN_SHARE:
        return 0
    return sum(_resume(run_id) for run_id in _due(clock.now()))


def _room() -> float:
    """The room left, as a share of what the settings want."""
    settings = get_settings()
    return free_bytes(settings.home) / max(1, settings.min_free_bytes)


def _due(now: datetime) -> Sequence[UUID]:
    held = (
        select(Run.id, func.count(Attempt.number), func.max(Attempt.finished_at))
        .join(Attempt, (Attempt.run_id == Run.id) & (Attempt.cause == Cause.DISK_FULL))
        .where(Run.state == RunState.HELD, Run.cause == Cause.DISK_FULL)
        .group_by(Run.id, Run.queued_at)
        .order_by(Run.queued_at)
    )
    with reading() as session:
        found = session.execute(held).all()
    due = [run_id for run_id, times, last in found if last is None or now - last >= _wait(times)]
    return due[:RESUMED_AT_ONCE]


def _wait(times: int) -> timedelta:
    doubled: int = 2 ** min(times - 1, 20)
    return min(LONGEST_WAIT, FIRST_WAIT * doubled)


def _resume(run_id: UUID) -> bool:
    with transaction() as session:
        return lifecycle.resume_held(session, run_id, Cause.DISK_FULL)
