"""Nobody has more than they may have, however many ask at once; who is refused learns when."""

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.database import commit
from app.errors import Forbidden, InvalidInput, TooMany
from app.models import Classroom, Enrollment, Role, Run, RunState, User
from app.runs.quota import own_use
from app.runs.submit import submit
from app.settings import get_settings
from labs.contract import Cause
from tests.runs.conftest import Library
from tests.support.factories import make_attempt, make_classroom, make_run, make_user

HOUR = timedelta(hours=1)


@pytest.fixture
def classroom(library: Library) -> Classroom:
    return make_classroom(library.session, library.student)


def refused(library: Library, **values: Any) -> str:
    with pytest.raises(TooMany) as error:
        library.submit(**values)
    return str(error.value)


def use_device(
    library: Library, person: User, seconds: float, ago: timedelta, **values: Any
) -> None:
    """An attempt of this person that ended so long ago."""
    ended = clock.now() - ago
    run = make_run(library.session, person, state=RunState.FAILED, attempt=1, **values)
    make_attempt(
        library.session, run, started_at=ended - timedelta(seconds=seconds), finished_at=ended,
        device_seconds=seconds,
    )  # fmt: skip


def test_a_class_decides_over_the_site(library: Library, classroom: Classroom) -> None:
    classroom.max_waiting_per_person = 1
    library.submit()
    assert refused(library).startswith("You have 1 of at most 1 runs waiting. Wait until")


def test_the_refusal_says_when_there_is_room_again(library: Library, classroom: Classroom) -> None:
    classroom.max_waiting_per_person = 1
    start = (clock.now() + 2 * HOUR).isoformat()
    library.submit().expected_start = {"earliest": start, "latest": start}
    library.session.flush()
    assert re.search(r"should start in about (1 h 59|2 h 0) min", refused(library))


def test_a_class_as_a_whole_has_a_limit(library: Library, classroom: Classroom) -> None:
    classroom.max_waiting = 2
    other = make_user(library.session)
    for _ in range(2):
        make_run(library.session, other, classroom_id=classroom.id)
    assert refused(library).startswith("Your class has 2 of at most 2 runs waiting.")


def test_runs_of_others_and_ended_ones_do_not_count(library: Library, classroom: Classroom) -> None:
    classroom.max_waiting_per_person = classroom.max_waiting = 1
    make_run(library.session)
    make_run(library.session, library.student, state=RunState.RUNNING)
    make_run(library.session, library.student, state=RunState.SUCCEEDED)
    assert library.submit().state is RunState.QUEUED


def test_device_time_of_a_day_is_limited(library: Library, classroom: Classroom) -> None:
    classroom.max_device_seconds_per_person = 600
    use_device(library, library.student, 500, 2 * HOUR)
    library.submit()
    use_device(library, library.student, 150, 1 * HOUR)
    told = refused(library)
    assert told.startswith("You have used 10.8 of the 10 device-minutes")
    assert "room again in about 21 h" in told


def test_device_time_is_free_again_after_a_day(library: Library, classroom: Classroom) -> None:
    classroom.max_device_seconds_per_person = 600
    use_device(library, library.student, 5000, 24 * HOUR)
    assert library.submit().state is RunState.QUEUED


def test_what_the_site_lost_is_not_charged(library: Library, classroom: Classroom) -> None:
    classroom.max_device_seconds_per_person = 600
    run = make_run(library.session, library.student, state=RunState.FAILED, attempt=1)
    now = clock.now()
    make_attempt(
        library.session, run, started_at=now - HOUR, finished_at=now, device_seconds=3600.0,
        cause=Cause.LOST_WORKER,
    )  # fmt: skip
    assert library.submit().state is RunState.QUEUED


def test_a_class_shares_its_device_time(library: Library, classroom: Classroom) -> None:
    classroom.max_device_seconds = 600
    use_device(library, make_user(library.session), 700, HOUR, classroom_id=classroom.id)
    assert refused(library).startswith("Your class has used 11.7 of the 10 device-minutes")


def test_what_is_wrong_with_the_form_is_told_before_its_limits(
    library: Library, classroom: Classroom
) -> None:
    classroom.max_waiting_per_person = 1
    library.submit()
    with pytest.raises(InvalidInput):
        library.submit(params={"rank": 0})


def test_a_run_that_was_sent_before_is_no_second_one(
    library: Library, classroom: Classroom
) -> None:
    classroom.max_waiting_per_person = 1
    first = library.submit(idempotency_key="form")
    assert library.submit(idempotency_key="form").id == first.id


def test_people_see_their_own_use(library: Library, classroom: Classroom) -> None:
    library.submit()
    use = own_use(library.session, library.student)
    assert (use.waiting, use.waiting_limit, use.seconds) == (1, 20, None)
    classroom.max_device_seconds_per_person = 3600
    use_device(library, library.student, 780, HOUR)
    use = own_use(library.session, library.student)
    assert (use.seconds, use.seconds_limit) == (pytest.approx(780), 3600)


def test_an_account_that_was_disabled_meanwhile_submits_nothing(library: Library) -> None:
    library.student.disabled_at = clock.now()
    library.session.flush()
    with pytest.raises(Forbidden, match="disabled"):
        library.submit()


def test_parallel_submissions_of_a_class_never_pass_its_limit(
    library: Library, classroom: Classroom, session_factory: Callable[[], Session]
) -> None:
    classroom.max_waiting = 3
    people = [library.student.id] + [make_user(library.session).id for _ in range(3)]
    library.session.commit()
    with session_factory() as session:
        room = session.get_one(Classroom, classroom.id)
        for person in people[1:]:
            session.add(_enrolled(room.id, person))
        session.commit()
    outcomes = in_parallel(library, session_factory, people * 3)
    assert outcomes.count("refused") == 9
    counted = select(func.count()).where(Run.classroom_id == classroom.id)
    assert library.session.scalar(counted) == 3


def test_ten_parallel_posts_of_one_form_give_one_run(
    library: Library, session_factory: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "1")
    get_settings.cache_clear()
    library.session.commit()
    outcomes = in_parallel(library, session_factory, [library.student.id] * 10, key="one form")
    assert len(set(outcomes)) == 1
    assert library.session.scalar(select(func.count()).select_from(Run)) == 1


def _enrolled(classroom_id: UUID, person: UUID) -> Any:
    return Enrollment(classroom_id=classroom_id, user_id=person, role=Role.STUDENT)


def in_parallel(
    library: Library,
    session_factory: Callable[[], Session],
    people: list[UUID],
    key: str | None = None,
) -> list[str]:
    """Everybody submits at the same moment; the ids of their runs, or that they were refused."""
    outcomes: list[str] = []
    together = threading.Barrier(len(people))

    def one(person: UUID) -> None:
        with session_factory() as own:
            actor = own.get_one(User, person)
            own.commit()
            together.wait()
            try:
                run = submit(own, actor, library.submission(idempotency_key=key))
                commit(own)
                outcomes.append(str(run.id))
            except TooMany:
                outcomes.append("refused")

    threads = [threading.Thread(target=one, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
