"""The rows of attempts: opened and closed together with the state of their run."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app import clock
from app.models import Attempt, Run
from labs.contract import Cause

Json = dict[str, Any]
# These say nothing against the run: somebody else needed the device.
BLAMELESS = frozenset({Cause.PREEMPTED, Cause.DRAINED, Cause.HOST_RESTARTED, Cause.HARDWARE_FAULT})
# These may hit any run that is there at the wrong moment.
FROM_AROUND = frozenset({Cause.LOST_WORKER, Cause.DISK_FULL})
RELEASED = "released"


def open_attempt(session: Session, run_id: UUID, number: int, device: str) -> None:
    """The row of a new attempt; it reads the event log on from where the last one stopped."""
    now = clock.now()
    session.add(
        Attempt(
            run_id=run_id,
            number=number,
            device=device,
            assigned_at=now,
            heartbeat_at=now,
            events_offset=_offset_so_far(session, run_id),
        )
    )
    session.flush()


def close_attempt(
    session: Session,
    run_id: UUID,
    attempt: int,
    outcome: str,
    cause: Cause | None,
    reason: Json | None,
) -> None:
    """Close an attempt once. The device-seconds that its supervisor renewed are kept."""
    row = session.get(Attempt, (run_id, attempt), populate_existing=True)
    if row is None or row.finished_at is not None:
        return
    row.finished_at = clock.now()
    row.outcome, row.cause, row.reason = outcome, cause, reason
    if row.started_at is not None and not row.device_seconds:
        # Its supervisor never came to say; a clock may have been set back meanwhile.
        row.device_seconds = max(0.0, (row.finished_at - row.started_at).total_seconds())
    session.flush()
    session.execute(
        update(Run)
        .where(Run.id == run_id, Run.peak_memory_bytes.is_distinct_from(row.peak_memory_bytes))
        .values(peak_memory_bytes=func.coalesce(row.peak_memory_bytes, Run.peak_memory_bytes))
        .execution_options(synchronize_session=False)
    )


def failed_alike(session: Session, run_id: UUID, cause: Cause) -> int:
    """How many attempts in a row, to the latest, ended with this cause.

    Only attempts that were claimed count. Blameless ones neither count nor interrupt the row;
    another cause interrupts it, and so does a release by a person. Causes that come from around
    a run, such as a lost worker, count only while the run stands still: once an attempt resumed
    from a later checkpoint than any before it, the row begins anew.
    """
    ended = select(Attempt.cause, Attempt.outcome, Attempt.resumed_from_step).where(
        Attempt.run_id == run_id, Attempt.started_at.is_not(None)
    )
    count = furthest = 0
    for found, outcome, resumed in session.execute(ended.order_by(Attempt.number)):
        moved_on = (resumed or 0) > furthest
        furthest = max(furthest, resumed or 0)
        if moved_on and cause in FROM_AROUND:
            count = 0
        if found not in BLAMELESS:
            count = count + 1 if found == cause else 0
        if outcome == RELEASED:
            count = 0
    return count if cause not in BLAMELESS else 0


def forgive(session: Session, run_id: UUID, attempt: int) -> None:
    """A person has looked at the run: its failures so far count no more."""
    session.execute(
        update(Attempt)
        .where(Attempt.run_id == run_id, Attempt.number == attempt)
        .values(outcome=RELEASED)
        .execution_options(synchronize_session=False)
    )


def _offset_so_far(session: Session, run_id: UUID) -> int:
    """What earlier attempts brought into the database; the rest of the file is still to read."""
    latest = select(func.max(Attempt.events_offset)).where(Attempt.run_id == run_id)
    return session.scalar(latest) or 0
