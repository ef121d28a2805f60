"""One change of a run's row: a guarded UPDATE, and the `state` event that tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.i18n import N_
from app.models import Run, RunState
from app.runs.journal import insert_events, state_payload

Guard = Sequence[ColumnElement[bool]]


class IllegalTransition(Conflict):
    """The run is not, or no longer, in a state from which this change is possible."""


class StaleAttempt(Conflict):
    """The attempt that writes is over; another one, or none, owns the run now."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What people have asked of a running run."""

    cancel: bool
    preempt: bool


def move(
    session: Session,
    run_id: UUID,
    target: RunState,
    guard: Guard,
    refusal: type[Conflict] = IllegalTransition,
    **changes: Any,
) -> Run:
    """Bring a run into another state if the guard holds, and tell it; refuse otherwise."""
    statement = (
        update(Run)
        .where(Run.id == run_id, *guard)
        .values(state=target, event_count=Run.event_count + 1, **changes)
        .returning(Run)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    run = session.scalar(statement)
    if run is None:
        raise refusal(N_("This run can no longer become {state}."), state=target.value)
    insert_events(session, run_id, run.attempt, run.event_count, [("state", state_payload(run))])
    return run


def fence(session: Session, run_id: UUID, attempt: int, guard: Guard, **changes: Any) -> Wishes:
    """Lock the row of a run that this attempt owns, and change it; refuse otherwise."""
    row = session.execute(
        update(Run)
        .where(Run.id == run_id, *guard)
        .values(changes or {"attempt": attempt})
        .returning(Run.cancel_requested_at, Run.preempt_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        raise StaleAttempt("Attempt {attempt} no longer owns this run.", attempt=attempt)
    return Wishes(cancel=row[0] is not None, preempt=row[1] is not None)


def owned_by(attempt: int) -> Guard:
    """The run is on a device, under this attempt."""
    return [Run.attempt == attempt, Run.state.in_([RunState.ASSIGNED, RunState.RUNNING])]
