"""What a run showed or became, numbered without gaps within the run, for pages to follow."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from app import clock
from app.models import Run, RunEvent

Json = dict[str, Any]


def append_events(
    session: Session, run_id: UUID, attempt: int, events: Sequence[tuple[str, Json]]
) -> None:
    """Append what a run showed or became, numbered without gaps within the run."""
    if not events:
        return
    last = session.scalar(
        update(Run)
        .where(Run.id == run_id)
        .values(event_count=Run.event_count + len(events))
        .returning(Run.event_count)
        .execution_options(synchronize_session=False)
    )
    assert last is not None, f"there is no run {run_id}"
    insert_events(session, run_id, attempt, last - len(events) + 1, events)


def insert_events(
    session: Session, run_id: UUID, attempt: int, first: int, events: Sequence[tuple[str, Json]]
) -> None:
    now = clock.now()
    rows = [
        {"run_id": run_id, "seq": seq, "attempt": attempt, "kind": kind, "at": now, "payload": body}
        for seq, (kind, body) in enumerate(events, start=first)
    ]
    session.execute(insert(RunEvent), rows)


def state_payload(run: Run) -> Json:
    return {
        "state": run.state.value,
        "attempt": run.attempt,
        "device": run.device,
        "cause": run.cause,
        "reason": run.reason,
    }
