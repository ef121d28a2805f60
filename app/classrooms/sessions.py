"""Lab sessions: the hours in which the devices are first of all for one class."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from app.models import ClassSession


def current(session: Session, now: datetime) -> Sequence[ClassSession]:
    """The lab sessions that go on now, with their classes, the one that ends first first."""
    going_on = (ClassSession.starts_at <= now, ClassSession.ends_at > now)
    statement = _with_class().where(*going_on).order_by(ClassSession.ends_at, ClassSession.id)
    return session.scalars(statement).all()


def upcoming(
    session: Session, now: datetime, classroom: UUID | None = None
) -> Sequence[ClassSession]:
    """The lab sessions that are to come, of one class or of all, the next first."""
    statement = _with_class().where(ClassSession.starts_at > now)
    if classroom is not None:
        statement = statement.where(ClassSession.classroom_id == classroom)
    return session.scalars(statement.order_by(ClassSession.starts_at, ClassSession.id)).all()


def _with_class() -> Select[ClassSession]:
    return select(ClassSession).options(joinedload(ClassSession.classroom))
