"""Every SELECT of the audit log."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import AuditEntry, User

PAGE = 100


def entries(session: Session, before: UUID | None = None) -> tuple[Sequence[Any], UUID | None]:
    """A page of (entry, name of who did it), newest first, and where the next page begins."""
    statement = (
        select(AuditEntry, User.name)
        .outerjoin(User, User.id == AuditEntry.actor_id)
        .order_by(AuditEntry.id.desc())
        .limit(PAGE + 1)
    )
    if before is not None:
        statement = statement.where(AuditEntry.id < before)
    rows = session.execute(statement).all()
    page = rows[:PAGE]
    return page, page[-1].AuditEntry.id if len(rows) > PAGE else None
