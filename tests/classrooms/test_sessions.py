"""Lab sessions: which may be scheduled, extended and ended, and when they go on."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app import clock
from app.classrooms import sessions
from app.classrooms.times import Span
from app.errors import Conflict, InvalidInput, NotFound
from app.models import AuditEntry, Classroom, ClassSession, User
from tests.support.factories import make_classroom
from tests.support.factories_class import make_session, make_teacher

NOON = datetime(2030, 3, 2, 12, tzinfo=UTC)
SLICE = timedelta(minutes=5)
HOUR = timedelta(hours=1)
spans = st.tuples(st.integers(0, 40), st.integers(1, 26)).map(
    lambda each: Span(NOON + each[0] * HOUR / 2, NOON + (each[0] + each[1]) * HOUR / 2)
)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def is_now(instant: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: instant)

    is_now(NOON)
    return is_now


@pytest.fixture
def teacher(session: Session) -> User:
    return make_teacher(session)


@pytest.fixture
def classroom(session: Session, teacher: User) -> Classroom:
    return make_classroom(session, teacher)


def acts(session: Session) -> Counter[str]:
    return Counter(session.scalars(select(AuditEntry.action)))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(wanted=st.lists(spans, min_size=1, max_size=8))
def test_sessions_of_a_class_never_meet_and_only_for_a_reason_is_one_refused(
    session: Session,
    teacher: User,
    classroom: Classroom,
    now: Callable[[datetime], None],
    wanted: list[Span],
) -> None:
    session.execute(delete(ClassSession))
    taken: list[Span] = []
    for span in wanted:
        meets = any(
            span.starts_at < other.ends_at and other.starts_at < span.ends_at for other in taken
        )
        try:
            sessions.schedule(session, teacher, classroom, span, SLICE)
        except InvalidInput:
            assert meets or span.length > sessions.LONGEST
        else:
            assert not meets
            taken.append(span)
    rows = session.scalars(select(ClassSession)).all()
    assert len(rows) == len(taken)
    for one, other in combinations(rows, 2):
        assert one.ends_at <= other.starts_at or other.ends_at <= one.starts_at


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(span=spans, minutes=st.integers(-60, 1500))
def test_at_each_instant_a_session_is_to_come_or_goes_on_or_is_over(
    session: Session, teacher: User, classroom: Classroom, span: Span, minutes: int
) -> None:
    session.execute(delete(ClassSession))
    made = make_session(session, classroom, teacher, starts_at=span.starts_at, ends_at=span.ends_at)
    instant = NOON + timedelta(minutes=minutes)
    found = (
        list(sessions.upcoming(session, instant, classroom.id)),
        list(sessions.current(session, instant)),
        list(sessions.past(session, instant, classroom.id)),
    )
    assert sorted(map(len, found)) == [0, 0, 1]
    assert (found[1] == [made]) == (span.starts_at <= instant < span.ends_at)


def test_another_class_may_have_the_same_hours_and_is_told(
    session: Session, teacher: User, classroom: Classroom, now: Callable[[datetime], None]
) -> None:
    other = make_classroom(session, teacher, name="The others")
    span = Span(NOON + HOUR, NOON + 3 * HOUR)
    sessions.schedule(session, teacher, classroom, span, SLICE)
    sessions.schedule(session, teacher, other, Span(NOON, NOON + 2 * HOUR), SLICE)
    assert [each.classroom.name for each in sessions.sharing(session, span, classroom.id)] == [
        "The others"
    ]
    beside = Span(NOON + 2 * HOUR, NOON + 3 * HOUR)
    assert sessions.sharing(session, beside, classroom.id) == []


def test_a_session_of_the_past_cannot_be_scheduled(
    session: Session, teacher: User, classroom: Classroom, now: Callable[[datetime], None]
) -> None:
    with pytest.raises(InvalidInput):
        sessions.schedule(session, teacher, classroom, Span(NOON - HOUR, NOON), SLICE)
    begun = Span(NOON - HOUR, NOON + HOUR)
    sessions.schedule(session, teacher, classroom, begun, SLICE)
    assert len(sessions.current(session, NOON)) == 1


def test_a_session_is_extended_until_it_would_meet_the_next(
    session: Session, teacher: User, classroom: Classroom, now: Callable[[datetime], None]
) -> None:
    first = sessions.schedule(session, teacher, classroom, Span(NOON, NOON + HOUR), SLICE)
    sessions.schedule(session, teacher, classroom, Span(NOON + 2 * HOUR, NOON + 3 * HOUR), SLICE)
    sessions.extend(session, teacher, classroom, first.id, HOUR)
    assert first.ends_at == NOON + 2 * HOUR
    with pytest.raises(InvalidInput):
        sessions.extend(session, teacher, classroom, first.id, timedelta(minutes=1))
    assert first.ends_at == NOON + 2 * HOUR
    assert acts(session) == {"session_scheduled": 2, "session_changed": 1}


def test_no_extension_makes_a_session_longer_than_twelve_hours(
    session: Session, teacher: User, classroom: Classroom, now: Callable[[datetime], None]
) -> None:
    made = sessions.schedule(session, teacher, classroom, Span(NOON, NOON + 12 * HOUR), SLICE)
    with pytest.raises(InvalidInput):
        sessions.extend(session, teacher, classroom, made.id, timedelta(minutes=15))


def test_one_that_goes_on_ends_now_and_one_to_come_is_called_off(
    session: Session, teacher: User, classroom: Classroom, now: Callable[[datetime], None]
) -> None:
    going = sessions.schedule(session, teacher, classroom, Span(NOON, NOON + HOUR), SLICE)
    coming = Span(NOON + 2 * HOUR, NOON + 3 * HOUR)
    later = sessions.schedule(session, teacher, classroom, coming, SLICE)
    now(NOON + HOUR / 2)
    sessions.end(session, teacher, classroom, going.id)
    sessions.end(session, teacher, classroom, later.id)
    session.expire_all()
    assert sessions.current(session, clock.now()) == []
    assert sessions.upcoming(session, clock.now()) == []
    assert [each.ends_at for each in sessions.past(session, clock.now(), classroom.id)] == [
        NOON + HOUR / 2
    ]
    assert acts(session)["session_ended"] == 2


def test_what_is_over_or_another_classes_stays_as_it_is(
    session: Session, teacher: User, classroom: Classroom, now: Callable[[datetime], None]
) -> None:
    made = sessions.schedule(session, teacher, classroom, Span(NOON, NOON + HOUR), SLICE)
    other = make_classroom(session, teacher)
    with pytest.raises(NotFound):
        sessions.end(session, teacher, other, made.id)
    now(NOON + HOUR)
    with pytest.raises(Conflict):
        sessions.end(session, teacher, classroom, made.id)
    with pytest.raises(Conflict):
        sessions.extend(session, teacher, classroom, made.id, HOUR)
