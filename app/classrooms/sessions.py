"""Lab sessions: the hours in which the devices are first of all for one class."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, delete, select
from sqlalchemy.orm import Session, joinedload

from app import clock
from app.audit.record import record
from app.classrooms.times import Span
from app.errors import Conflict, FieldError, InvalidInput, NotFound
from app.i18n import N_
from app.models import Classroom, ClassSession, User

LONGEST = timedelta(hours=12)
PAST_SHOWN = 20


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


def unfinished(session: Session, now: datetime, until: datetime) -> Sequence[ClassSession]:
    """The lab sessions that go on, and those that begin until then, by their beginning."""
    return session.scalars(_UNFINISHED, {"now": now, "until": until}).all()


def past(session: Session, now: datetime, classroom: UUID) -> Sequence[ClassSession]:
    """The last lab sessions of a class that are over, the newest first."""
    over = (ClassSession.classroom_id == classroom, ClassSession.ends_at <= now)
    statement = _with_class().where(*over).order_by(ClassSession.ends_at.desc())
    return session.scalars(statement.limit(PAST_SHOWN)).all()


def sharing(session: Session, span: Span, classroom: UUID) -> Sequence[ClassSession]:
    """The sessions of other classes within these hours: they share the devices."""
    statement = _with_class().where(ClassSession.classroom_id != classroom, _meets(span))
    return session.scalars(statement.order_by(ClassSession.starts_at)).all()


def schedule(
    session: Session, actor: User, classroom: Classroom, span: Span, time_slice: timedelta
) -> ClassSession:
    """A new lab session of a class.

    Raises:
        InvalidInput: If it is over already, too long, or meets another of the class.
    """
    if span.ends_at <= clock.now():
        raise InvalidInput([FieldError("until", N_("This time is past."))])
    _check(session, classroom, span)
    made = ClassSession(
        classroom_id=classroom.id,
        starts_at=span.starts_at,
        ends_at=span.ends_at,
        slice_seconds=round(time_slice.total_seconds()),
        created_by_id=actor.id,
        created_at=clock.now(),
    )
    session.add(made)
    session.flush()
    record(session, actor, "session_scheduled", classroom.name, **_told(made))
    return made


def extend(session: Session, actor: User, classroom: Classroom, key: UUID, by: timedelta) -> None:
    """Let a session that is not over end later.

    Raises:
        InvalidInput: If it became too long, or met another of the class.
    """
    found = _unfinished(session, classroom, key)
    before = found.ends_at
    _check(session, classroom, Span(found.starts_at, before + by), but=key)
    found.ends_at = before + by
    record(
        session, actor, "session_changed", classroom.name, **_told(found), before=before.isoformat()
    )


def end(session: Session, actor: User, classroom: Classroom, key: UUID) -> None:
    """End a session that goes on; call off one that has not begun."""
    found, now = _unfinished(session, classroom, key), clock.now()
    has_begun = found.starts_at <= now
    record(session, actor, "session_ended", classroom.name, **_told(found), had_begun=has_begun)
    if has_begun:
        found.ends_at = now
    else:
        session.execute(delete(ClassSession).where(ClassSession.id == key))


def _check(session: Session, classroom: Classroom, span: Span, but: UUID | None = None) -> None:
    if span.length > LONGEST:
        told = N_("A lab session lasts at most {most} hours; this one would last {hours}.")
        hours = round(span.length / timedelta(hours=1), 1)
        values = {"most": LONGEST // timedelta(hours=1), "hours": f"{hours:g}"}
        raise InvalidInput([FieldError("until", told, values)])
    # Two instructors at once must not both find these hours free.
    session.execute(select(Classroom.id).where(Classroom.id == classroom.id).with_for_update())
    own = select(ClassSession.id).where(ClassSession.classroom_id == classroom.id, _meets(span))
    if but is not None:
        own = own.where(ClassSession.id != but)
    if session.scalar(own.limit(1)) is not None:
        told = N_("The class has a lab session within these hours already.")
        raise InvalidInput([FieldError("from", told)])


def _unfinished(session: Session, classroom: Classroom, key: UUID) -> ClassSession:
    own = (ClassSession.id == key, ClassSession.classroom_id == classroom.id)
    found = session.scalar(select(ClassSession).where(*own).with_for_update())
    if found is None:
        raise NotFound(N_("There is no such lab session."))
    if found.ends_at <= clock.now():
        raise Conflict(N_("This lab session is over."))
    return found


def _meets(span: Span) -> ColumnElement[bool]:
    return (ClassSession.starts_at < span.ends_at) & (ClassSession.ends_at > span.starts_at)


def _told(one: ClassSession) -> dict[str, str]:
    return {"starts": one.starts_at.isoformat(), "ends": one.ends_at.isoformat()}


def _with_class() -> Select[ClassSession]:
    return select(ClassSession).options(joinedload(ClassSession.classroom))


# Asked for by every look at the queue, so made once.
_UNFINISHED = (
    _with_class()
    .where(ClassSession.ends_at > bindparam("now"), ClassSession.starts_at < bindparam("until"))
    .order_by(ClassSession.starts_at, ClassSession.id)
)
