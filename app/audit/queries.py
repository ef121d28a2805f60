"""Every SELECT of the audit log."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import AuditEntry, Run, User

PAGE = 50


class Row(NamedTuple):
    """An entry, and the name of who did it; None is the system."""

    entry: AuditEntry
    name: str | None


def entries(
    session: Session,
    before: UUID | None = None,
    action: str = "",
    actor: UUID | None = None,
) -> tuple[Sequence[Row], UUID | None]:
    """A page of the log, newest first, and where the next page begins."""
    statement = (
        select(AuditEntry, User.name)
        .outerjoin(User, User.id == AuditEntry.actor_id)
        .order_by(AuditEntry.id.desc())
        .limit(PAGE + 1)
    )
    if before is not None:
        statement = statement.where(AuditEntry.id < before)
    if action:
        statement = statement.where(AuditEntry.action == action)
    if actor is not None:
        statement = statement.where(AuditEntry.actor_id == actor)
    rows = [Row(*each) for each in session.execute(statement)]
    page = rows[:PAGE]
    return page, page[-1].entry.id if len(rows) > PAGE else None


def actions(session: Session) -> Sequence[str]:
    """The acts that stand in the log."""
    return session.scalars(select(AuditEntry.action).distinct().order_by(AuditEntry.action)).all()


def actors(session: Session) -> Sequence[User]:
    """The people who did something that stands in the log, by name."""
    acted = select(AuditEntry.actor_id).where(AuditEntry.actor_id.is_not(None))
    return session.scalars(select(User).where(User.id.in_(acted)).order_by(User.name)).all()


def names_of_runs(session: Session, ids: Collection[UUID]) -> Mapping[UUID, tuple[str, str]]:
    """Name and owner of each of these runs that is not deleted: that has no page to link to."""
    found = select(Run.id, Run.name, User.name).join(User, User.id == Run.owner_id)
    found = found.where(Run.deleted_at.is_(None))
    return {
        key: (name, owner) for key, name, owner in session.execute(found.where(Run.id.in_(ids)))
    }
