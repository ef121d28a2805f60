"""The board of a class: who is stuck, what is counted, and how many questions it asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from app import clock
from app.classrooms.queries import GLANCES, Glance
from app.classrooms.views import SORTS, BoardPage, alike, board_page
from app.models import Classroom, RunState, User, new_id
from tests.support.factories import make_classroom, make_run, make_user
from tests.support.factories_class import LIVES, make_busy_class, make_teacher

OVER = [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]
UNFINISHED = [RunState.QUEUED, RunState.ASSIGNED, RunState.RUNNING, RunState.HELD]


@contextmanager
def counted(session: Session) -> Iterator[list[str]]:
    """The statements that a session sends."""
    asked: list[str] = []
    engine: Engine = session.get_bind().engine

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def board_of(session: Session, size: int) -> tuple[BoardPage, int]:
    teacher = make_teacher(session)
    classroom = make_busy_class(session, teacher, size)
    session.expire_all()
    session.get(Classroom, classroom.id), session.get(User, teacher.id)
    with counted(session) as asked:
        page = board_page(session, teacher, classroom, "")
    return page, len(asked)


def test_the_number_of_questions_does_not_grow_with_the_class(session: Session) -> None:
    _small, few = board_of(session, len(LIVES))
    page, many = board_of(session, 5 * len(LIVES))
    assert len(page.lines) == 5 * len(LIVES) + 1
    assert many == few


def test_the_board_counts_what_is_there(session: Session) -> None:
    page, _asked = board_of(session, 2 * len(LIVES))
    states = [state for life in LIVES for state in life] * 2
    for state in (RunState.QUEUED, RunState.RUNNING, RunState.HELD, RunState.FAILED):
        assert page.totals[state] == states.count(state)
    assert len(page.held) == page.totals[RunState.HELD]
    assert page.stuck == 4
    assert [line.is_stuck for line in page.lines] == [True] * 4 + [False] * (len(page.lines) - 4)


@pytest.mark.parametrize("sort", SORTS)
def test_sorting_keeps_everybody(session: Session, sort: str) -> None:
    teacher = make_teacher(session)
    classroom = make_busy_class(session, teacher, len(LIVES))
    page = board_page(session, teacher, classroom, sort)
    names = [line.member.name for line in page.lines]
    assert len(set(names)) == len(LIVES) + 1
    keys = [SORTS[sort](line) for line in page.lines]
    assert keys == sorted(keys)


def test_failures_of_yesterday_and_of_others_do_not_count(session: Session) -> None:
    teacher, student = make_teacher(session), make_user(session)
    classroom = make_classroom(session, teacher, student)
    long_ago = clock.now() - timedelta(hours=25)
    make_run(session, student, state=RunState.FAILED, finished_at=long_ago)
    make_run(session, make_user(session), state=RunState.HELD)
    page = board_page(session, teacher, classroom, "")
    assert sum(page.totals.values()) == 0


def glance(state: RunState, cause: str | None) -> Glance:
    return Glance(new_id(), new_id(), "run", state, cause, None, clock.now())


runs = st.builds(
    glance, st.sampled_from(OVER + UNFINISHED), st.sampled_from([None, "killed", "diverged"])
)


@given(st.lists(runs, max_size=GLANCES))
def test_a_streak_is_of_failures_of_one_cause_up_to_now(newest: list[Glance]) -> None:
    streak = alike(newest)
    ended = [run for run in newest if run.state in (RunState.SUCCEEDED, RunState.FAILED)]
    assert all(run.state is RunState.FAILED for run in ended[:streak])
    assert len({run.cause for run in ended[:streak]}) == min(streak, 1)
    for run in ended[streak : streak + 1]:
        assert run.state is RunState.SUCCEEDED or run.cause != ended[0].cause
    waiting = glance(RunState.QUEUED, None)
    assert alike([waiting, *newest]) == streak
