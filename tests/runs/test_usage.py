"""Device-seconds: what people are charged for, and what the site lost for them."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.models import Classroom
from app.runs.limits import Limits, class_limits, person_limits
from app.runs.usage import decayed_use, device_seconds_by_person, device_seconds_since
from app.settings import Settings
from labs.contract import Cause
from tests.support.factories import NOON, make_attempt, make_classroom, make_run, make_user

HOUR = timedelta(hours=1)


def attempt(session: Session, run: Any, ago: timedelta, seconds: float, **values: Any) -> None:
    finished = NOON - ago
    values = {"finished_at": finished, "device_seconds": seconds, **values}
    make_attempt(session, run, started_at=finished - timedelta(seconds=seconds), **values)


def test_use_counts_half_for_each_hour_that_has_passed(session: Session) -> None:
    owner = make_user(session)
    attempt(session, make_run(session, owner), HOUR, 400.0)
    attempt(session, make_run(session, owner), 2 * HOUR, 400.0)
    assert decayed_use(session, NOON) == {owner.id: pytest.approx(300.0)}


def test_the_steady_clock_of_the_supervisor_is_believed_before_that_on_the_wall(
    session: Session,
) -> None:
    owner = make_user(session)
    began = NOON - timedelta(seconds=100)
    make_attempt(session, make_run(session, owner), started_at=began, device_seconds=40.0)
    assert decayed_use(session, NOON) == {owner.id: 40.0}
    make_attempt(session, make_run(session, owner), started_at=began)
    assert decayed_use(session, NOON) == {owner.id: 140.0}


@pytest.mark.parametrize(
    ("cause", "charged"),
    [
        (None, 60.0),
        (Cause.LAB_ERROR, 60.0),
        (Cause.PREEMPTED, 60.0),
        (Cause.HARDWARE_FAULT, 0.0),
        (Cause.LOST_WORKER, 0.0),
        (Cause.HOST_RESTARTED, 0.0),
    ],
)
def test_nobody_is_charged_for_what_the_site_lost(
    session: Session, cause: Cause | None, charged: float
) -> None:
    owner = make_user(session)
    attempt(session, make_run(session, owner), timedelta(0), 60.0, cause=cause)
    assert decayed_use(session, NOON).get(owner.id, 0.0) == charged
    assert device_seconds_since(session, NOON - HOUR, owner=owner.id, now=NOON) == charged


def test_an_attempt_counts_with_the_part_that_came_since(session: Session) -> None:
    owner = make_user(session)
    attempt(session, make_run(session, owner), timedelta(minutes=50), 1800.0)
    assert device_seconds_since(session, NOON - HOUR, owner=owner.id, now=NOON) == 600.0


def test_a_person_and_a_class_are_counted_apart(session: Session) -> None:
    ada, bob = make_user(session), make_user(session)
    classroom = make_classroom(session, ada, bob)
    attempt(session, make_run(session, ada, classroom_id=classroom.id), HOUR, 100.0)
    attempt(session, make_run(session, ada), HOUR, 20.0)
    attempt(session, make_run(session, bob, classroom_id=classroom.id), HOUR, 3.0)
    since = NOON - 24 * HOUR
    assert device_seconds_by_person(session, since, NOON) == {ada.id: 120.0, bob.id: 3.0}
    of_class = device_seconds_since(session, since, classroom=classroom.id, now=NOON)
    assert of_class == 103.0
    both = {"owner": ada.id, "classroom": classroom.id}
    assert device_seconds_since(session, since, **both, now=NOON) == 100.0


def test_what_a_class_leaves_open_the_site_decides() -> None:
    settings = Settings(max_waiting_per_person=7, max_running_per_person=3)
    own = Classroom(max_running_per_person=1, max_waiting=50)
    assert person_limits(own, settings) == Limits(waiting=7, running=1)
    assert person_limits(None, settings) == Limits(waiting=7, running=3)
    assert class_limits(own) == Limits(waiting=50)
    assert class_limits(None) == Limits()
