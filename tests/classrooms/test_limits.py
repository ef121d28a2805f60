"""Limits of a class: what may be entered, what it means, and what is written down."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classrooms.limits import LARGEST, TITLES, limit_fields, set_limits, site_default
from app.classrooms.use import own_standing
from app.clock import now
from app.errors import InvalidInput
from app.models import AuditEntry, Classroom, RunState
from app.runs.limits import person_limits
from app.settings import get_settings
from tests.support.factories import make_classroom, make_run, make_user
from tests.support.factories_class import make_teacher

entered = st.none() | st.integers(1, LARGEST)


@pytest.fixture
def classroom(session: Session) -> Classroom:
    return make_classroom(session, make_teacher(session, "maria"))


def changes(session: Session) -> list[AuditEntry]:
    found = session.scalars(select(AuditEntry)).all()
    return sorted(found, key=lambda entry: len(entry.detail["after"]))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.fixed_dictionaries(dict.fromkeys(TITLES, entered)), offers=st.booleans())
def test_a_form_shows_what_was_entered_and_rows_keep_seconds(
    session: Session, classroom: Classroom, values: dict[str, int | None], offers: bool
) -> None:
    texts = {name: "" if value is None else str(value) for name, value in values.items()}
    set_limits(session, make_teacher(session), classroom, texts, offers)
    assert {each.name: each.value for each in limit_fields(classroom)} == texts
    for name, value in values.items():
        factor = 60 if "seconds" in name else 1
        assert getattr(classroom, name) == (None if value is None else value * factor)
    assert classroom.offers_same_work is offers


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1e3", "1000001", "٣", "9" * 400])
def test_what_is_no_whole_number_in_range_is_refused_at_its_field(
    session: Session, classroom: Classroom, text: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        set_limits(
            session,
            make_teacher(session),
            classroom,
            {"max_running": text, "max_waiting": "3"},
            True,
        )
    assert [each.field for each in caught.value.errors] == ["max_running"]
    assert classroom.max_waiting is None
    assert changes(session) == []


def test_only_what_changed_is_written_down_with_before_and_after(
    session: Session, classroom: Classroom
) -> None:
    teacher = make_teacher(session)
    set_limits(session, teacher, classroom, {"max_waiting": "30"}, True)
    set_limits(session, teacher, classroom, {"max_waiting": "30"}, True)
    set_limits(session, teacher, classroom, {"max_device_seconds": "10"}, False)
    session.flush()
    assert [entry.detail for entry in changes(session)] == [
        {"before": {"max_waiting": None}, "after": {"max_waiting": 30}},
        {
            "before": {"max_waiting": 30, "max_device_seconds": None, "offers_same_work": True},
            "after": {"max_waiting": None, "max_device_seconds": 600, "offers_same_work": False},
        },
    ]


def test_the_default_beside_a_field_is_the_one_that_holds_without_it(
    session: Session, classroom: Classroom
) -> None:
    held = person_limits(classroom, get_settings())
    assert site_default("max_waiting_per_person") == held.waiting
    assert site_default("max_running_per_person") == held.running
    assert site_default("max_device_seconds_per_person") == held.device_seconds
    helps = {each.name: each.help for each in limit_fields(classroom)}
    assert str(held.waiting) in helps["max_waiting_per_person"]
    assert site_default("max_waiting") is None


def test_a_person_sees_what_they_use_of_the_limits_of_their_class(
    session: Session, classroom: Classroom
) -> None:
    student = make_user(session)
    classroom.max_waiting_per_person = 2
    for state in (RunState.QUEUED, RunState.QUEUED, RunState.RUNNING, RunState.FAILED):
        make_run(session, student, state=state)
    make_run(session)
    waiting, running, seconds = own_standing(session, student, classroom, now())
    assert (waiting.used, waiting.most, waiting.is_reached) == (2, 2, True)
    assert (running.used, running.most, running.is_reached) == (1, None, False)
    assert (seconds.used, seconds.is_time) == (0, True)
