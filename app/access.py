"""Who may see and do what. Every query of runs passes `visible`; every act asks `can`."""

from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, and_, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.errors import Forbidden
from app.models import Dataset, DatasetShare, Enrollment, Role, Run, User


class Viewer(Protocol):
    """Whose eyes: a person, or in a statement that is made once, a parameter for one."""

    @property
    def id(self) -> UUID | BindParameter[Any]: ...

    @property
    def role(self) -> Role: ...


class Action(StrEnum):
    """Acts that not everybody may do."""

    CANCEL_RUN = "cancel_run"
    RELEASE_RUN = "release_run"
    DELETE_RUN = "delete_run"
    BOOST_RUN = "boost_run"
    STEER_ENDPOINT = "steer_endpoint"
    MANAGE_CLASS = "manage_class"
    SEE_CLASS_QUEUE = "see_class_queue"
    MANAGE_DEVICES = "manage_devices"
    MANAGE_LIBRARY = "manage_library"
    MANAGE_PEOPLE = "manage_people"


INSTRUCTOR_MAY = frozenset(
    {
        Action.CANCEL_RUN,
        Action.RELEASE_RUN,
        Action.BOOST_RUN,
        Action.STEER_ENDPOINT,
        Action.MANAGE_CLASS,
        Action.SEE_CLASS_QUEUE,
    }
)


# What people may do with runs of their own.
OWNER_MAY = frozenset({Action.CANCEL_RUN, Action.DELETE_RUN, Action.STEER_ENDPOINT})


def classes_taught(actor: Viewer) -> ColumnElement[bool]:
    """Enrollments in the classes that the actor teaches."""
    taught = select(Enrollment.classroom_id).where(
        Enrollment.user_id == actor.id, Enrollment.role == Role.INSTRUCTOR
    )
    return Enrollment.classroom_id.in_(taught)


def visible(actor: Viewer) -> ColumnElement[bool]:
    """The runs an actor may read: own ones; an instructor's students'; all for an admin. Deleted
    ones nobody."""
    return and_(Run.deleted_at.is_(None), visible_owner(actor, Run.owner_id))


def visible_owner(actor: Viewer, owner: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    """The same by the column that says whose something is."""
    if actor.role is Role.ADMIN:
        return true()
    own = owner == actor.id
    if actor.role is not Role.INSTRUCTOR:
        return own
    students = select(Enrollment.user_id).where(classes_taught(actor))
    return or_(own, owner.in_(students))


def usable(actor: Viewer) -> ColumnElement[bool]:
    """The datasets an actor may look at and learn from: bundled and own ones, those shared with
    a class they are in; all for an admin."""
    if actor.role is Role.ADMIN:
        return true()
    classes = select(Enrollment.classroom_id).where(Enrollment.user_id == actor.id)
    shared = select(DatasetShare.dataset_id).where(DatasetShare.classroom_id.in_(classes))
    return or_(Dataset.owner_id.is_(None), Dataset.owner_id == actor.id, Dataset.id.in_(shared))


def can(actor: User, action: Action, run_owner: UUID | None = None) -> bool:
    """Whether the actor may do this; a run's owner may always cancel and delete it and close its endpoint.

    The run must have come from a query that `visible` filtered: an instructor's right
    to cancel reaches as far as what they see.
    """
    if actor.role is Role.ADMIN or (action in OWNER_MAY and run_owner == actor.id):
        return True
    return actor.role is Role.INSTRUCTOR and action in INSTRUCTOR_MAY


def require(actor: User, action: Action, run_owner: UUID | None = None) -> None:
    """Raise `Forbidden` unless the actor may do this."""
    if not can(actor, action, run_owner):
        raise Forbidden("Your role ({role}) does not allow this.", role=actor.role.value)


def classroom_of(session: Session, person: User) -> UUID | None:
    """The class a student's runs count for: the one they joined in, none for others."""
    return session.scalar(
        select(Enrollment.classroom_id)
        .where(Enrollment.user_id == person.id)
        .order_by(Enrollment.classroom_id)
        .limit(1)
    )
