"""Making a class, and people who come into it and leave it while their runs go on."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import visible
from app.classrooms import roster
from app.classrooms.queries import members
from app.errors import InvalidInput, NotFound
from app.models import Classroom, Role, Run, RunState, User
from tests.support.factories import make_classroom, make_run, make_user
from tests.support.factories_class import make_teacher


@pytest.fixture
def admin(session: Session) -> User:
    return make_user(session, "ada", role=Role.ADMIN)


def test_people_come_in_with_the_role_they_have_and_once(session: Session, admin: User) -> None:
    made = roster.create(session, admin, "  Efficient   fine-tuning ")
    assert made.name == "Efficient fine-tuning"
    make_user(session, "sam"), make_teacher(session, "maria")
    assert roster.add_people(session, admin, made, "sam, maria\nada;sam") == ["ada", "maria", "sam"]
    assert roster.add_people(session, admin, made, "sam") == []
    roles = {each.name: each.role for each in members(session, made.id)}
    assert roles == {"sam": Role.STUDENT, "maria": Role.INSTRUCTOR, "ada": Role.INSTRUCTOR}


@pytest.mark.parametrize("text", ["", " , ", "sam nobody", "SAM", "x" * 5000, "sam\x00"])
def test_names_of_nobody_add_nobody(session: Session, admin: User, text: str) -> None:
    make_user(session, "sam")
    classroom = make_classroom(session)
    with pytest.raises(InvalidInput):
        roster.add_people(session, admin, classroom, text)
    assert members(session, classroom.id) == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 121, "a\x07b", "monday"])
def test_a_class_needs_a_name_of_its_own(session: Session, admin: User, name: str) -> None:
    make_classroom(session, name="Monday")
    with pytest.raises(InvalidInput):
        roster.create(session, admin, name)
    assert len(session.scalars(select(Classroom)).all()) == 1


def test_runs_of_who_leaves_go_on_without_the_class(session: Session, admin: User) -> None:
    teacher, student = make_teacher(session), make_user(session)
    classroom = make_classroom(session, teacher, student)
    states = (RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED)
    for state in states:
        make_run(session, student, state=state, classroom_id=classroom.id)
    assert roster.remove_person(session, admin, classroom, student.id) == 2
    session.expire_all()
    runs = {run.state: run.classroom_id for run in session.scalars(select(Run))}
    assert runs == {
        RunState.QUEUED: None,
        RunState.RUNNING: None,
        RunState.SUCCEEDED: classroom.id,
    }
    assert session.scalars(select(Run).where(visible(teacher))).all() == []
    with pytest.raises(NotFound):
        roster.remove_person(session, admin, classroom, student.id)
