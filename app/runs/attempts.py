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
    row = session.get(Attempt, (run_id, attempt), populate_existing=True)
    if row is None or row.finished_at is not None:
        return
    row.finished_at = clock.now()
    row.outcome, row.cause, row.reason = outcome, cause, reason
    if row.started_at is not None:
        row.device_seconds = (row.finished_at - row.started_at).total_seconds()
    session.flush()
    session.execute(
        update(Run)
        .where(Run.id == run_id, Run.peak_memory_bytes.is_distinct_from(row.peak_memory_bytes))
        .values(peak_memory_bytes=func.coalesce(row.peak_memory_bytes, Run.peak_memory_bytes))
        .execution_options(synchronize_session=False)
    )


def failed_alike(session: Session, run_id: UUID, cause: Cause) -> int:
    if cause in BLAMELESS:
        return 0
    alike = select(func.count()).where(
        Attempt.run_id == run_id, Attempt.cause == cause, Attempt.started_at.is_not(None)
    )
    return session.scalar(alike) or 0


def _offset_so_far(session: Session, run_id: UUID) -> int:
    """What earlier attempts brought into the database; the rest of the file is still to read."""
    latest = select(func.max(Attempt.events_offset)).where(Attempt.run_id == run_id)
    return session.scalar(latest) or 0
