"""Of many who want the same thing at the same moment, one gets it, and the others learn so."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.database import reading, transaction
from app.errors import TooMany
from app.models import OVER, Attempt, Role, Run, RunEvent, RunState, User
from app.runs import dispatch, lifecycle
from app.runs.lifecycle import StaleAttempt
from app.runs.reasons import reason_of
from app.runs.submit import submit
from app.settings import get_settings
from labs.contract import Cause
from tests.runs.conftest import Library
from tests.support.claimers import assign_many, claim_together
from tests.support.factories import make_device, make_run, make_user
from tests.support.interleave import Deed, interleave

pytestmark = pytest.mark.faults
WHY = reason_of("Placed.")
THREADS, PROCESSES, ROWS = 16, 4, 1000


def test_a_thousand_rows_are_claimed_once_each(session: Session) -> None:
    wanted = assign_many(session, ROWS)
    claimed = claim_together(THREADS, PROCESSES)
    assert sorted(claimed) == sorted(wanted)
    started = select(func.count()).where(Attempt.started_at.is_not(None), Attempt.heartbeat == 1)
    assert session.scalar(started) == ROWS


def test_a_bell_that_rings_ten_times_starts_a_run_once(session: Session) -> None:
    runs = assign_many(session, 8)

    def ring(run_id: UUID) -> bool:
        try:
            with transaction() as own:
                lifecycle.claim(own, run_id, 1, "cpu")
        except StaleAttempt:
            return False
        return True

    with ThreadPoolExecutor(8) as crew:
        assert sum(crew.map(ring, runs * 10)) == len(runs)
        for run_id in runs:
            with transaction() as own:
                lifecycle.finish(own, run_id, 1, RunState.SUCCEEDED)
        assert not any(crew.map(ring, runs * 10))
    events = select(func.count()).select_from(RunEvent)
    assert session.scalar(events) == 2 * len(runs)  # running, succeeded


def cancel(run_id: UUID) -> Deed:
    def deed(session: Session) -> object:
        owner = session.get_one(User, session.get_one(Run, run_id).owner_id)
        return lifecycle.request_cancel(session, run_id, owner)

    return deed


def release(run_id: UUID) -> Deed:
    def deed(session: Session) -> None:
        admin = session.scalars(select(User).where(User.role == Role.ADMIN)).one()
        lifecycle.release_held(session, run_id, admin)

    return deed


def assign(run_id: UUID) -> Deed:
    return lambda session: lifecycle.assign(session, run_id, "cpu", WHY)


def claim(run_id: UUID) -> Deed:
    return lambda session: lifecycle.claim(session, run_id, 1, "cpu")


def renew(run_id: UUID) -> Deed:
    return lambda session: lifecycle.renew(session, run_id, 1)


def finish(run_id: UUID) -> Deed:
    return lambda session: lifecycle.finish(session, run_id, 1, RunState.SUCCEEDED)


def requeue(run_id: UUID) -> Deed:
    return lambda session: lifecycle.requeue(session, run_id, 1, Cause.LOST_WORKER)


def hold(run_id: UUID) -> Deed:
    return lambda session: lifecycle.hold(session, run_id, 1, Cause.DISK_FULL)


Q, A, R, H = RunState.QUEUED, RunState.ASSIGNED, RunState.RUNNING, RunState.HELD
RACES: list[tuple[RunState, Callable[[UUID], Deed], Callable[[UUID], Deed]]] = [
    (Q, cancel, assign),
    (A, cancel, claim),
    (A, cancel, requeue),
    (R, cancel, finish),
    (R, cancel, requeue),
    (R, cancel, hold),
    (R, cancel, renew),
    (H, cancel, release),
    (Q, cancel, cancel),
    (A, claim, requeue),
    (R, finish, requeue),
    (R, finish, hold),
    (R, requeue, renew),
]


def run_in(session: Session, state: RunState) -> UUID:
    run = make_run(session, state=H if state is H else Q)
    if state in (A, R):
        lifecycle.assign(session, run.id, "cpu", WHY)
    if state is R:
        lifecycle.claim(session, run.id, 1, "cpu")
    session.commit()
    return run.id


def one_story(session: Session, run_id: UUID) -> None:
    """Whoever came first, the rows tell of one course of events."""
    session.expire_all()
    run = session.get_one(Run, run_id)
    numbers = select(RunEvent.seq).where(RunEvent.run_id == run_id).order_by(RunEvent.seq)
    assert session.scalars(numbers).all() == list(range(1, run.event_count + 1))
    still_open = select(func.count()).where(Attempt.run_id == run_id, Attempt.finished_at.is_(None))
    assert session.scalar(still_open) == (run.state in (A, R))
    ended = select(RunEvent.payload).where(RunEvent.run_id == run_id)
    ends = [told for told in session.scalars(ended) if told["state"] in OVER]
    assert len(ends) == (run.state in OVER)
    session.rollback()


@pytest.mark.parametrize(("state", "one", "other"), RACES)
@pytest.mark.parametrize("swapped", [False, True])
def test_two_who_race_are_put_in_an_order(
    session: Session,
    state: RunState,
    one: Callable[[UUID], Deed],
    other: Callable[[UUID], Deed],
    swapped: bool,
) -> None:
    """The second comes before each statement of the first, its commit included."""
    first, second = (other, one) if swapped else (one, other)
    make_user(session, role=Role.ADMIN)
    for at in count():
        run_id = run_in(session, state)
        there_is_more, *accepted = interleave(first(run_id), second(run_id), at)
        assert any(accepted)
        one_story(session, run_id)
        if cancel in (one, other):
            heard_by_all(session, run_id, dict(zip((first, second), accepted, strict=True))[cancel])
        if not there_is_more:
            return


def heard_by_all(session: Session, run_id: UUID, accepted: bool) -> None:
    """A wish to cancel is refused only by a run that is over, and forgotten by none."""
    run = session.get_one(Run, run_id)
    if accepted:
        assert run.state in OVER or (run.state is R and run.cancel_requested_at is not None)
    else:
        assert run.state in OVER
    session.rollback()


def together(crew: int, deed: Callable[[Session], UUID]) -> list[UUID | None]:
    """What each of them got who did the same at the same moment; None is a refusal."""
    start = threading.Barrier(crew)

    def own(_: int) -> UUID | None:
        start.wait()
        try:
            with transaction() as session:
                return deed(session)
        except TooMany:
            return None

    with ThreadPoolExecutor(crew) as pool:
        return list(pool.map(own, range(crew)))


def submitting(library: Library, key: str | None = None) -> Callable[[Session], UUID]:
    library.session.commit()
    student, wanted = library.student.id, library.submission(idempotency_key=key)
    return lambda session: submit(session, session.get_one(User, student), wanted).id


def count_runs() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Run)) or 0


def test_eight_who_want_the_last_place_in_a_queue_find_one(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "1")
    get_settings.cache_clear()
    got = together(8, submitting(library))
    assert (len([run for run in got if run]), count_runs()) == (1, 1)


def test_ten_of_one_click_start_one_run(library: Library) -> None:
    got = together(10, submitting(library, "one-click"))
    assert (len(set(got)), count_runs()) == (1, 1)
    assert None not in got


@pytest.mark.parametrize("slots", [0, 8])
def test_dispatchers_do_not_stand_in_each_others_way(
    session: Session, slots: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_BROKER_URL", "redis://127.0.0.1:9/0")
    get_settings.cache_clear()
    if slots:
        make_device(session, slots=slots, heartbeat_at=clock.now())
    for _ in range(24):
        make_run(session)
    session.commit()
    with ThreadPoolExecutor(6) as crew, caplog.at_level(logging.WARNING, "app.runs.dispatch"):
        given = list(crew.map(lambda _: dispatch.fill_devices(), range(6)))
    assert sum(given) == slots
    assert [each for each in caplog.records if each.name == "app.runs.dispatch"] == []
    assert session.scalars(select(func.max(Run.attempt))).one() == min(1, slots)
