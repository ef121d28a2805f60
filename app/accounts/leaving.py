"""Shutting a person out while their runs go on: what waits is cancelled, what runs is stopped."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import people
from app.errors import Conflict
from app.models import Run, RunState, User
from app.runs import lifecycle

UNFINISHED = (RunState.QUEUED, RunState.ASSIGNED, RunState.RUNNING, RunState.HELD)


def unfinished_runs(session: Session) -> Mapping[UUID, int]:
    """How many runs of each person have not come to an end."""
    counted = select(Run.owner_id, func.count()).where(Run.state.in_(UNFINISHED))
    return dict(session.execute(counted.group_by(Run.owner_id)).all())


def shut_out(session: Session, user: User, actor: User) -> int:
    """Disable an account and cancel its runs; returns how many were cancelled or asked to stop.

    Raises:
        InvalidInput: If somebody would shut themselves out.
    """
    people.disable(session, user, actor)
    return cancel_runs(session, user, actor)


def cancel_runs(session: Session, user: User, actor: User) -> int:
    """Cancel what a person has not finished; each is a line of the audit log."""
    unfinished = select(Run.id).where(Run.owner_id == user.id, Run.state.in_(UNFINISHED))
    cancelled = 0
    for run_id in session.scalars(unfinished.order_by(Run.id)).all():
        try:
            with session.begin_nested():
                lifecycle.request_cancel(session, run_id, actor)
        except Conflict:
            continue  # it ended since it was read, which only Postgres allows
        cancelled += 1
    return cancelled
