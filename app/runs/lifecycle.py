"""The states of a run. Every change is one guarded UPDATE, fenced by the attempt's number.

Of two racing callers exactly one finds its guard true. Whoever comes late learns it from
`StaleAttempt` or `IllegalTransition` and writes nothing. Each change appends a `state`
event in the same transaction, so that pages see every step in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, null, update
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, require
from app.audit.record import record
from app.errors import Conflict
from app.i18n import N_
from app.models import Attempt, Run, RunState, User
from app.runs.attempts import close_attempt, failed_alike, open_attempt
from app.runs.journal import append_events as append_events
from app.runs.journal import insert_events, state_payload
from app.runs.queries import get_run
from app.runs.reasons import reason_of
from labs.contract import Cause

Json = dict[str, Any]
Guard = Sequence[ColumnElement[bool]]
SAME_CAUSE_LIMIT = 3


class IllegalTransition(Conflict):
    """The run is not, or no longer, in a state from which this change is possible."""


class StaleAttempt(Conflict):
    """The attempt that writes is over; another one, or none, owns the run now."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What people have asked of a running run."""

    cancel: bool
    preempt: bool


def insert_queued(session: Session, run: Run) -> None:
    """Add a new run to the queue."""
    run.state = RunState.QUEUED
    run.event_count = 0
    session.add(run)
    session.flush()
    append_events(session, run.id, 0, [("state", state_payload(run))])


def assign(session: Session, run_id: UUID, device: str, reason: Json) -> int:
    """Give a waiting run to a device, as a new attempt; returns the attempt's number."""
    now = clock.now()
    run = _move(
        session,
        run_id,
        RunState.ASSIGNED,
        [Run.state == RunState.QUEUED],
        attempt=Run.attempt + 1,
        device=device,
        reason=reason,
        assigned_at=now,
        position=None,
        expected_start=None,
    )
    open_attempt(session, run_id, run.attempt, device)
    return run.attempt


def claim(session: Session, run_id: UUID, attempt: int, device: str) -> Run:
    """Start an assigned run on its device; exactly one caller succeeds for each attempt."""
    now = clock.now()
    guard = [Run.state == RunState.ASSIGNED, Run.attempt == attempt, Run.device == device]
    run = _move(
        session,
        run_id,
        RunState.RUNNING,
        guard,
        StaleAttempt,
        started_at=func.coalesce(Run.started_at, now),
        reason=null(),
        cause=None,
        preempt_requested_at=None,
    )
    session.execute(
        update(Attempt)
        .where(Attempt.run_id == run_id, Attempt.number == attempt)
        .values(started_at=now, heartbeat=Attempt.heartbeat + 1, heartbeat_at=now)
    )
    return run


def renew(session: Session, run_id: UUID, attempt: int, **changes: Any) -> Wishes:
    """Prove that this attempt still owns the run, note its progress, renew its lease.

    Every transaction of a supervisor begins with this: the UPDATE locks the row, so
    nothing of a superseded attempt can follow it.

    Raises:
        StaleAttempt: If the run is over, waits again, or is in a later attempt.
    """
    guard = [Run.attempt == attempt, Run.state == RunState.RUNNING]
    wishes = _fence(session, run_id, attempt, guard, **changes)
    session.execute(
        update(Attempt)
        .where(Attempt.run_id == run_id, Attempt.number == attempt)
        .values(heartbeat=Attempt.heartbeat + 1, heartbeat_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    return wishes


def finish(
    session: Session,
    run_id: UUID,
    attempt: int,
    outcome: RunState,
    cause: Cause | None = None,
    reason: Json | None = None,
) -> None:
    """End a run for good, under the attempt that carried it out."""
    assert outcome.is_over, f"{outcome} is not an end"
    _move(
        session,
        run_id,
        outcome,
        _owned_by(attempt),
        StaleAttempt,
        cause=cause,
        reason=reason or null(),
        finished_at=clock.now(),
    )
    close_attempt(session, run_id, attempt, outcome.value, cause, reason)


def requeue(
    session: Session, run_id: UUID, attempt: int, cause: Cause, reason: Json | None = None
) -> RunState:
    """Give a run back to the queue, at its old place, to resume in a new attempt.

    A run that somebody asked to cancel is cancelled instead; one that ended the same way
    three times is held for a person to look at. Returns the state it is in now.
    """
    now = clock.now()
    asked = _fence(session, run_id, attempt, _owned_by(attempt)).cancel
    close_attempt(session, run_id, attempt, "requeued", cause, reason)
    guard = _owned_by(attempt)
    if asked:
        _move(
            session, run_id, RunState.CANCELLED, guard, StaleAttempt,
            cause=Cause.CANCELLED, reason=null(), finished_at=now,
        )  # fmt: skip
        return RunState.CANCELLED
    if failed_alike(session, run_id, cause) >= SAME_CAUSE_LIMIT:
        held = reason_of(
            N_(
                "Stopped {count} times in the same way ({cause}). Somebody must look before it runs again."
            ),
            count=SAME_CAUSE_LIMIT,
            cause=cause.value,
        )
        _move(
            session, run_id, RunState.HELD, guard, StaleAttempt,
            cause=Cause.REPEATED_FAILURE, reason=held, device=None,
        )  # fmt: skip
        return RunState.HELD
    _move(
        session, run_id, RunState.QUEUED, guard, StaleAttempt,
        device=None, cause=cause, reason=reason or null(), preempt_requested_at=None,
    )  # fmt: skip
    return RunState.QUEUED


def hold(
    session: Session, run_id: UUID, attempt: int, cause: Cause, reason: Json | None = None
) -> RunState:
    """Stop a live run until what it needs is there again, such as disk space.

    A run that somebody asked to cancel is cancelled instead. Returns the state it is in now.
    """
    asked = _fence(session, run_id, attempt, _owned_by(attempt)).cancel
    close_attempt(session, run_id, attempt, "held", cause, reason)
    guard = _owned_by(attempt)
    if asked:
        _move(
            session, run_id, RunState.CANCELLED, guard, StaleAttempt,
            cause=Cause.CANCELLED, reason=null(), finished_at=clock.now(),
        )  # fmt: skip
        return RunState.CANCELLED
    _move(
        session, run_id, RunState.HELD, guard, StaleAttempt,
        cause=cause, reason=reason or null(), device=None, preempt_requested_at=None,
    )  # fmt: skip
    return RunState.HELD


def resume_held(session: Session, run_id: UUID, cause: Cause) -> bool:
    """Queue a run again that was held for this cause, once the cause is gone; False if it moved on."""
    guard = [Run.state == RunState.HELD, Run.cause == cause]
    try:
        _move(session, run_id, RunState.QUEUED, guard, device=None, cause=None, reason=null())
    except IllegalTransition:
        return False
    return True


def ask_to_make_room(session: Session, run_id: UUID, attempt: int, reason: Json) -> bool:
    """Ask a running run to save a checkpoint and wait for its next turn; False if it moved on."""
    guard = [Run.attempt == attempt, Run.state == RunState.RUNNING]
    asked = session.execute(
        update(Run)
        .where(Run.id == run_id, *guard, Run.preempt_requested_at.is_(None))
        .values(preempt_requested_at=clock.now(), reason=reason)
        .returning(Run.id)
        .execution_options(synchronize_session=False)
    )
    return asked.one_or_none() is not None


def set_boost(session: Session, run_id: UUID, actor: User, boosted: bool) -> None:
    """Move a waiting run up before the unboosted ones, or back among them.

    Raises:
        Conflict: If the run no longer waits.
    """
    run = get_run(session, actor, run_id)
    require(actor, Action.BOOST_RUN, run.owner_id)
    changed = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.state == RunState.QUEUED)
        .values(boosted_at=clock.now() if boosted else null())
        .returning(Run.id)
        .execution_options(synchronize_session=False)
    )
    if changed.one_or_none() is None:
        raise IllegalTransition(N_("This run does not wait any more."))
    action = "boost_run" if boosted else "unboost_run"
    record(session, actor, action, str(run_id), owner=str(run.owner_id))


def take_result(session: Session, run_id: UUID, source_id: UUID) -> None:
    """End a waiting run with the result of a finished one of the same work."""
    now = clock.now()
    _move(
        session, run_id, RunState.SUCCEEDED, [Run.state == RunState.QUEUED],
        same_as_id=source_id, cause=None, reason=null(), position=None, expected_start=None,
        started_at=now, finished_at=now,
    )  # fmt: skip


def request_cancel(session: Session, run_id: UUID, actor: User) -> RunState:
    """Cancel at once what is not running; ask the supervisor to stop what is.

    Returns the state the run is in now: `cancelled`, or `running` until its process is gone.

    Raises:
        Conflict: If the run is already over.
    """
    run = get_run(session, actor, run_id)
    require(actor, Action.CANCEL_RUN, run.owner_id)
    if actor.id != run.owner_id:
        record(session, actor, "cancel_run", str(run_id), owner=str(run.owner_id))
    asked: Json = {"cancel_requested_at": clock.now(), "cancel_requested_by_id": actor.id}
    if _cancel_unstarted(session, run_id, asked):
        return RunState.CANCELLED
    found = session.scalar(
        update(Run)
        .where(Run.id == run_id, Run.state == RunState.RUNNING)
        .values(asked)
        .returning(Run.state)
    )
    if found is None:
        raise Conflict(N_("This run is already over."))
    return RunState.RUNNING


def release_held(session: Session, run_id: UUID, actor: User) -> None:
    """Let a held run try again, at its old place in the queue."""
    run = get_run(session, actor, run_id)
    require(actor, Action.RELEASE_RUN, run.owner_id)
    _move(
        session, run_id, RunState.QUEUED, [Run.state == RunState.HELD],
        device=None, cause=None, reason=null(),
    )  # fmt: skip
    record(session, actor, "release_run", str(run_id), owner=str(run.owner_id))


def _move(
    session: Session,
    run_id: UUID,
    target: RunState,
    guard: Guard,
    refusal: type[Conflict] = IllegalTransition,
    **changes: Any,
) -> Run:
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


def _fence(session: Session, run_id: UUID, attempt: int, guard: Guard, **changes: Any) -> Wishes:
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


def _owned_by(attempt: int) -> Guard:
    return [Run.attempt == attempt, Run.state.in_([RunState.ASSIGNED, RunState.RUNNING])]


def _cancel_unstarted(session: Session, run_id: UUID, asked: Json) -> bool:
    waiting = [RunState.QUEUED, RunState.ASSIGNED, RunState.HELD]
    try:
        run = _move(
            session, run_id, RunState.CANCELLED, [Run.state.in_(waiting)],
            cause=Cause.CANCELLED, reason=null(), position=None, expected_start=None,
            finished_at=clock.now(), **asked,
        )  # fmt: skip
    except IllegalTransition:
        return False
    close_attempt(session, run_id, run.attempt, RunState.CANCELLED.value, Cause.CANCELLED, None)
    return True
