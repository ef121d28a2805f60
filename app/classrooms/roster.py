"""Who is in a class: making classes, adding people to them and taking people out again.

Only admins do: whoever is in a class shows their runs to its instructors.
"""

import re
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app import clock
from app.audit.record import record
from app.datasets.shares import end_shares_of_leaver
from app.errors import FieldError, InvalidInput, NotFound
from app.i18n import N_
from app.models import Classroom, Enrollment, Role, Run, RunState, User

LONGEST_NAME = 120
MOST_AT_ONCE = 500
UNFINISHED = (RunState.QUEUED, RunState.ASSIGNED, RunState.RUNNING, RunState.HELD)


def create(session: Session, actor: User, name: str) -> Classroom:
    """A new class without people.

    Raises:
        InvalidInput: If the name is empty, too long or taken.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        told = N_("A class has a name of 1 to {most} characters.")
        raise InvalidInput([FieldError("name", told, {"most": LONGEST_NAME})])
    if session.scalar(select(Classroom.id).where(func.lower(Classroom.name) == name.lower())):
        raise InvalidInput([FieldError("name", N_("“{name}” is taken."), {"name": name})])
    made = Classroom(name=name, created_at=clock.now())
    session.add(made)
    session.flush()
    record(session, actor, "class_created", name)
    return made


def add_people(session: Session, actor: User, classroom: Classroom, text: str) -> list[str]:
    """Put the people of these names, one a line or with commas, into a class.

    Those who teach on the site teach in the class. Returns who was not in it before.

    Raises:
        InvalidInput: If somebody of these names is not known here.
    """
    names = list(dict.fromkeys(re.split(r"[\s,;]+", text.strip())))[:MOST_AT_ONCE]
    possible = select(User).where(User.name.in_(filter(str.isprintable, names)))
    found = {user.name: user for user in session.scalars(possible)}
    if not names[0] or len(found) < len(names):
        unknown = ", ".join(name for name in names if name not in found)[:200]
        told = N_("There is nobody of this name here: {names}") if unknown else N_("Enter names.")
        raise InvalidInput([FieldError("names", told, {"names": unknown})])
    there = select(Enrollment.user_id).where(Enrollment.classroom_id == classroom.id)
    present = set(session.scalars(there))
    added = [user for user in found.values() if user.id not in present]
    for user in added:
        role = Role.STUDENT if user.role is Role.STUDENT else Role.INSTRUCTOR
        session.add(Enrollment(classroom_id=classroom.id, user_id=user.id, role=role))
    joined = sorted(user.name for user in added)
    if joined:
        record(session, actor, "class_joined", classroom.name, people=", ".join(joined))
    return joined


def remove_person(session: Session, actor: User, classroom: Classroom, user_id: UUID) -> int:
    """Take a person out of a class; returns how many of their runs no longer count for it.

    The runs are theirs and go on, without the class's sessions and limits; its instructors
    see them no more. Datasets that they shared with the class are no longer shared with it.
    """
    left = session.scalar(
        delete(Enrollment)
        .where(Enrollment.classroom_id == classroom.id, Enrollment.user_id == user_id)
        .returning(Enrollment.user_id)
    )
    if left is None:
        raise NotFound(N_("There is no such person."))
    freed = session.scalars(
        update(Run)
        .where(
            Run.owner_id == user_id,
            Run.classroom_id == classroom.id,
            Run.state.in_(UNFINISHED),
        )
        .values(classroom_id=None)
        .returning(Run.id)
        .execution_options(synchronize_session=False)
    ).all()
    end_shares_of_leaver(session, user_id, classroom.id)
    name = session.get_one(User, user_id).name
    record(session, actor, "class_left", classroom.name, people=name, runs=len(freed))
    return len(freed)
