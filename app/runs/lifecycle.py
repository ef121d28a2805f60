"""The states of a run. Every change is one guarded UPDATE, fenced by the attempt's number.

Of two racing callers exactly one finds its guard true. Whoever comes late learns it from
`StaleAttempt` or `IllegalTransition` and writes nothing. Each change appends a `state`
event in the same transaction, so that pages see every step in order.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import func, null, select, update
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, require
from app.audit.record import record
from app.errors import Conflict
from app.i18n import N_
from app.models import Attempt, Run, RunState, User
from app.runs.attempts import close_attempt, failed_alike, forgive, open_attempt
from app.runs.journal import append_events as append_events
from app.runs.journal import state_payload
from app.runs.queries import get_run
from app.runs.reasons import reason_of
from app.runs.transitions import IllegalTransition as IllegalTransition
from app.runs.transitions import StaleAttempt as StaleAttempt
from app.runs.transitions import Wishes as Wishes
from app.runs.transitions import fence, move, owned_by
from labs.contract import Cause

Json = dict[str, Any]
SAME_CAUSE_LIMIT = 3


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
    run = move(
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
    run = move(
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
    wishes = fence(session, run_id, attempt, guard, **changes)
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
    move(
        session,
        run_id,
        outcome,
        owned_by(attempt),
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

    A run that somebody asked to cancel is cancelled instead; one that fails in the same way
    again and again is held for a person to look at. Returns the state it is in now.
    """
    return _give_back(session, run_id, attempt, RunState.QUEUED, cause, reason)


def hold(
    session: Session, run_id: UUID, attempt: int, cause: Cause, reason: Json | None = None
) -> RunState:
    """Stop a live run until what it needs is there again, such as disk space.

    What `requeue` says of other ends holds here too. Returns the state it is in now.
    """
    return _give_back(session, run_id, attempt, RunState.HELD, cause, reason)


def resume_held(session: Session, run_id: UUID, cause: Cause) -> bool:
    """Queue a run again that was held for this cause, once the cause is gone; False if it moved on."""
    guard = [Run.state == RunState.HELD, Run.cause == cause]
    try:
        move(session, run_id, RunState.QUEUED, guard, device=None, cause=None, reason=null())
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
    move(
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
    # Between the two tries below it must not slip from one state to the other.
    session.execute(select(Run.id).where(Run.id == run_id).with_for_update())
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
    """Let a held run try again, at its old place in the queue; how it failed so far is forgiven."""
    run = get_run(session, actor, run_id)
    require(actor, Action.RELEASE_RUN, run.owner_id)
    moved = move(
        session, run_id, RunState.QUEUED, [Run.state == RunState.HELD],
        device=None, cause=None, reason=null(),
    )  # fmt: skip
    forgive(session, run_id, moved.attempt)
    record(session, actor, "release_run", str(run_id), owner=str(run.owner_id))


def _give_back(
    session: Session,
    run_id: UUID,
    attempt: int,
    target: RunState,
    cause: Cause,
    reason: Json | None,
) -> RunState:
    """End an attempt but not its run, unless somebody asked for that or it only fails."""
    asked = fence(session, run_id, attempt, owned_by(attempt)).cancel
    outcome = "requeued" if target is RunState.QUEUED else target.value
    close_attempt(session, run_id, attempt, outcome, cause, reason)
    told: Json = {"device": None, "cause": cause, "reason": reason or null()}
    if asked:
        target = RunState.CANCELLED
        told = {"cause": Cause.CANCELLED, "reason": null(), "finished_at": clock.now()}
    elif failed_alike(session, run_id, cause) >= SAME_CAUSE_LIMIT:
        target = RunState.HELD
        told |= {"cause": Cause.REPEATED_FAILURE, "reason": _repeated(cause)}
    guard = owned_by(attempt)
    move(session, run_id, target, guard, StaleAttempt, preempt_requested_at=None, **told)
    return target


def _repeated(cause: Cause) -> Json:
    return reason_of(
        N_(
            "Stopped {count} times in the same way ({cause}). Somebody must look before it runs again."
        ),
        count=SAME_CAUSE_LIMIT,
        cause=cause.value,
    )


def _cancel_unstarted(session: Session, run_id: UUID, asked: Json) -> bool:
    waiting = [RunState.QUEUED, RunState.ASSIGNED, RunState.HELD]
    try:
        run = move(
            session, run_id, RunState.CANCELLED, [Run.state.in_(waiting)],
            cause=Cause.CANCELLED, reason=null(), position=None, expected_start=None,
            finished_at=clock.now(), **asked,
        )  # fmt: skip
    except IllegalTransition:
        return False
    close_attempt(session, run_id, run.attempt, RunState.CANCELLED.value, Cause.CANCELLED, None)
    return True
