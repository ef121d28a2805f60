"""Cancelling a group: what waits at once, what runs at its next step."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, require
from app.database import after_commit
from app.errors import Conflict
from app.groups.queries import get_group, group_runs
from app.models import Device, GroupKind, RunGroup, User
from app.runs import lifecycle
from app.runs.dispatch import fill_devices


def cancel_group(
    session: Session, actor: User, group_id: UUID, kind: GroupKind | None = None
) -> RunGroup:
    """Cancel every run that is not over, in the transaction of the caller; twice is once.

    Raises:
        NotFound: If the actor may not see the group.
        Forbidden: If they may not cancel its runs.
    """
    group = get_group(session, actor, group_id, kind)
    require(actor, Action.CANCEL_RUN, group.owner_id)
    # A dispatcher locks many runs too, in another order; it takes the devices first, as we do.
    session.execute(select(Device.name).order_by(Device.name).with_for_update())
    for run in group_runs(session, actor, group):
        if run.state.is_over or run.cancel_requested_at is not None:
            continue
        if _cancelled(session, run.id, actor) and group.cancelled_at is None:
            group.cancelled_at = clock.now()
    after_commit(session, fill_devices)
    return group


def _cancelled(session: Session, run_id: UUID, actor: User) -> bool:
    try:
        with session.begin_nested():
            lifecycle.request_cancel(session, run_id, actor)
    except Conflict:
        return False  # it ended since it was read, which only Postgres allows
    return True
