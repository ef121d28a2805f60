"""Sharing a dataset with a class: its members may look at it and learn from it, nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, can
from app.audit.record import record
from app.classrooms import queries as classes
from app.errors import Forbidden, NotFound
from app.i18n import N_
from app.models import Classroom, Dataset, DatasetShare, Enrollment, Role, User


@dataclass(frozen=True, slots=True)
class Shared:
    """A class that a dataset is shared with."""

    classroom: UUID
    name: str


def share(session: Session, actor: User, dataset: Dataset, classroom_id: UUID) -> None:
    """Let the people of a class use the actor's dataset; again it changes nothing.

    Raises:
        Forbidden: If it is not theirs.
        NotFound: If they are not in that class, or do not teach it as an instructor.
    """
    if dataset.owner_id != actor.id:
        raise Forbidden(N_("Only its owner can share a dataset."))
    found = {each.id: each for each in possible_classes(session, actor)}.get(classroom_id)
    if found is None or not _stays(session, actor, classroom_id):
        raise NotFound(N_("There is no such class."))
    # One at a time: who shares it twice at once, or while it is deleted, hears no fault of ours.
    locked = select(Dataset.id).where(Dataset.id == dataset.id).with_for_update()
    if session.scalar(locked) is None:
        raise NotFound(N_("There is no such dataset."))
    if session.get(DatasetShare, (dataset.id, found.id)) is not None:
        return
    session.add(
        DatasetShare(
            dataset_id=dataset.id,
            classroom_id=found.id,
            shared_by_id=actor.id,
            created_at=clock.now(),
        )
    )
    session.flush()
    record(session, actor, "dataset_shared", dataset.name, classroom=found.name)


def _stays(session: Session, actor: User, classroom_id: UUID) -> bool:
    """Whether they are in the class, and remain so to the commit: leaving it ends their shares."""
    if actor.role is Role.ADMIN:
        return True
    own = (Enrollment.classroom_id == classroom_id, Enrollment.user_id == actor.id)
    return (
        session.scalar(select(Enrollment.role).where(*own).with_for_update(read=True)) is not None
    )


def end_share(session: Session, actor: User, dataset: Dataset, classroom_id: UUID) -> None:
    """Take a dataset back from a class: its owner can, and who steers the class.

    Runs that learn from it go on and keep its name and hash.

    Raises:
        Forbidden: If the actor is neither.
        NotFound: If it is not shared with that class.
    """
    shared = session.get(DatasetShare, (dataset.id, classroom_id))
    classroom = session.get(Classroom, classroom_id)
    if shared is None or classroom is None:
        raise NotFound(N_("The dataset is not shared with this class."))
    if dataset.owner_id != actor.id and not classes.steers(session, actor, classroom):
        raise Forbidden(N_("Only its owner and the instructors of the class can take it back."))
    forget = delete(DatasetShare).where(
        DatasetShare.dataset_id == dataset.id, DatasetShare.classroom_id == classroom_id
    )
    session.execute(forget)
    record(session, actor, "dataset_unshared", dataset.name, classroom=classroom.name)


def possible_classes(session: Session, actor: User) -> Sequence[Classroom]:
    """Where a person may share what is theirs: a student's own classes, those they teach."""
    if can(actor, Action.MANAGE_CLASS):
        return classes.taught(session, actor)
    return classes.classes_of(session, actor)


def shares_of(
    session: Session, actor: User, datasets: Sequence[Dataset]
) -> Mapping[UUID, Sequence[Shared]]:
    """The classes that each dataset is shared with, as far as they are the reader's business.

    An owner and an admin see all of them, others only the classes that they are in themselves.
    """
    statement = (
        select(DatasetShare.dataset_id, Classroom.id, Classroom.name)
        .join(Classroom, Classroom.id == DatasetShare.classroom_id)
        .join(Dataset, Dataset.id == DatasetShare.dataset_id)
        .where(DatasetShare.dataset_id.in_([each.id for each in datasets]))
        .order_by(Classroom.name)
    )
    if actor.role is not Role.ADMIN:
        own = select(Enrollment.classroom_id).where(Enrollment.user_id == actor.id)
        statement = statement.where((Dataset.owner_id == actor.id) | Classroom.id.in_(own))
    found: dict[UUID, list[Shared]] = {}
    for dataset_id, classroom, name in session.execute(statement):
        found.setdefault(dataset_id, []).append(Shared(classroom, name))
    return found


def end_shares_of_leaver(session: Session, user_id: UUID, classroom_id: UUID) -> None:
    """Who leaves a class takes along what they shared with it."""
    theirs = select(Dataset.id).where(Dataset.owner_id == user_id)
    session.execute(
        delete(DatasetShare)
        .where(DatasetShare.classroom_id == classroom_id, DatasetShare.dataset_id.in_(theirs))
        .execution_options(synchronize_session=False)
    )
