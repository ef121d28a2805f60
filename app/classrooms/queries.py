"""Every SELECT of classes. The runs in them pass `visible(actor)`, as everywhere."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from app.access import Action, can, visible
from app.errors import Forbidden, NotFound
from app.i18n import N_
from app.models import Classroom, Enrollment, Role, Run, RunState, User

UNFINISHED = (RunState.QUEUED, RunState.ASSIGNED, RunState.RUNNING, RunState.HELD)
# So many of each person's newest runs are looked at to tell whether they are stuck.
GLANCES = 6


@dataclass(frozen=True, slots=True)
class Member:
    """A person of a class, and their role in it."""

    id: UUID
    name: str
    role: Role
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Glance:
    """A run as the line of its owner shows it."""

    id: UUID
    owner_id: UUID
    name: str
    state: RunState
    cause: str | None
    reason: Mapping[str, Any] | None
    created_at: datetime


def classes_of(session: Session, actor: User) -> Sequence[Classroom]:
    """The classes a person teaches or learns in, all of them for an admin."""
    statement = select(Classroom).order_by(Classroom.name)
    if actor.role is not Role.ADMIN:
        own = select(Enrollment.classroom_id).where(Enrollment.user_id == actor.id)
        statement = statement.where(Classroom.id.in_(own))
    return session.scalars(statement).all()


def taught(session: Session, actor: User) -> Sequence[Classroom]:
    """The classes a person may steer."""
    if not can(actor, Action.MANAGE_CLASS):
        return ()
    found = classes_of(session, actor)
    if actor.role is Role.ADMIN:
        return found
    mine = _roles(session, actor)
    return [each for each in found if mine[each.id] is Role.INSTRUCTOR]


def get_class(session: Session, actor: User, classroom_id: UUID) -> Classroom:
    """A class the person is in; `NotFound` for everybody else."""
    found = session.get(Classroom, classroom_id)
    if found is None or not (
        actor.role is Role.ADMIN or session.get(Enrollment, (classroom_id, actor.id)) is not None
    ):
        raise NotFound(N_("There is no such class."))
    return found


def steers(session: Session, actor: User, classroom: Classroom) -> bool:
    """Whether the person may steer the class: its instructors and admins."""
    if actor.role is Role.ADMIN:
        return True
    own = session.get(Enrollment, (classroom.id, actor.id))
    return can(actor, Action.MANAGE_CLASS) and own is not None and own.role is Role.INSTRUCTOR


def get_steered(session: Session, actor: User, classroom_id: UUID) -> Classroom:
    """A class to steer; `Forbidden` for those who only learn in it."""
    found = get_class(session, actor, classroom_id)
    if not steers(session, actor, found):
        raise Forbidden(N_("Only its instructors and admins steer a class."))
    return found


def members(session: Session, classroom_id: UUID) -> list[Member]:
    """The people of a class by name."""
    rows = session.execute(
        select(User.id, User.name, Enrollment.role, User.disabled_at.is_not(None))
        .join(Enrollment, Enrollment.user_id == User.id)
        .where(Enrollment.classroom_id == classroom_id)
        .order_by(User.name)
    )
    return [Member(*row) for row in rows]


def counts(
    session: Session, actor: User, classroom_id: UUID, since: datetime
) -> Mapping[UUID, Counter[RunState]]:
    """Unfinished runs by person and state, and those that failed since an instant."""
    failed = (Run.state == RunState.FAILED) & (Run.finished_at >= since)
    rows = session.execute(
        select(Run.owner_id, Run.state, func.count())
        .where(*_within(actor, classroom_id), or_(Run.state.in_(UNFINISHED), failed))
        .group_by(Run.owner_id, Run.state)
    )
    found: dict[UUID, Counter[RunState]] = defaultdict(Counter)
    for owner, state, count in rows:
        found[owner][state] = count
    return found


def newest(session: Session, actor: User, classroom_id: UUID) -> Mapping[UUID, list[Glance]]:
    """The last runs of each person, newest first."""
    place = func.row_number().over(partition_by=Run.owner_id, order_by=Run.id.desc())
    columns = (Run.id, Run.owner_id, Run.name, Run.state, Run.cause, Run.reason, Run.created_at)
    ranked = select(*columns, place.label("place")).where(*_within(actor, classroom_id)).subquery()
    rows = session.execute(
        select(*(ranked.c[column.key] for column in columns))
        .where(ranked.c.place <= GLANCES)
        .order_by(ranked.c.id.desc())
    )
    found: dict[UUID, list[Glance]] = defaultdict(list)
    for row in rows:
        found[row.owner_id].append(Glance(*row))
    return found


def in_states(
    session: Session, actor: User, classroom_id: UUID, *states: RunState, limit: int
) -> Sequence[Run]:
    """Runs of the people of a class with their owners, in the order of their turns."""
    order = (Run.position.is_(None), Run.position, Run.assigned_at, Run.queued_at, Run.id)
    statement = _runs().where(*_within(actor, classroom_id), Run.state.in_(states))
    return session.scalars(statement.order_by(*order).limit(limit)).all()


def held(session: Session, actor: User, limit: int) -> Sequence[Run]:
    """The held runs of everybody the actor teaches, the newest first."""
    statement = _runs().where(visible(actor), Run.state == RunState.HELD)
    return session.scalars(statement.order_by(Run.id.desc()).limit(limit)).all()


def count_held(session: Session, actor: User) -> int:
    """How many runs that the actor may see are held."""
    counted = select(func.count()).select_from(Run)
    return session.scalar(counted.where(visible(actor), Run.state == RunState.HELD)) or 0


def totals(session: Session, actor: User, since: datetime) -> Mapping[UUID, Counter[RunState]]:
    """The same as `counts`, by class, for all classes at once."""
    failed = (Run.state == RunState.FAILED) & (Run.finished_at >= since)
    rows = session.execute(
        select(Enrollment.classroom_id, Run.state, func.count())
        .join(Run, Run.owner_id == Enrollment.user_id)
        .where(visible(actor), or_(Run.state.in_(UNFINISHED), failed))
        .group_by(Enrollment.classroom_id, Run.state)
    )
    found: dict[UUID, Counter[RunState]] = defaultdict(Counter)
    for classroom, state, count in rows:
        found[classroom][state] = count
    return found


def sizes(session: Session) -> Mapping[UUID, int]:
    """How many students each class has."""
    counted = select(Enrollment.classroom_id, func.count()).where(Enrollment.role == Role.STUDENT)
    return dict(session.execute(counted.group_by(Enrollment.classroom_id)).all())


def _within(actor: User, classroom_id: UUID) -> tuple[ColumnElement[bool], ...]:
    people = select(Enrollment.user_id).where(Enrollment.classroom_id == classroom_id)
    return visible(actor), Run.owner_id.in_(people)


def _runs() -> Select[Run]:
    return select(Run).options(joinedload(Run.owner))


def _roles(session: Session, actor: User) -> Mapping[UUID, Role]:
    own = select(Enrollment.classroom_id, Enrollment.role).where(Enrollment.user_id == actor.id)
    return dict(session.execute(own).all())
