"""What fails in the same way again and again is held; what only had bad luck is not."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app import clock
from app.models import Attempt, AuditEntry, Role, Run, RunState
from app.runs import lifecycle
from app.runs.attempts import BLAMELESS
from app.runs.reasons import reason_of
from labs.contract import Cause
from tests.support.factories import make_run, make_user

WHY = reason_of("Placed on {device}.", device="cpu")
KILLED, LOST = Cause.KILLED, Cause.LOST_WORKER


def start(session: Session, run: Run, resumed: int | None = None) -> Attempt:
    number = lifecycle.assign(session, run.id, "cpu", WHY)
    lifecycle.claim(session, run.id, number, "cpu")
    attempt = session.get_one(Attempt, (run.id, number), populate_existing=True)
    attempt.resumed_from_step = resumed
    session.flush()
    return attempt


def end(session: Session, run: Run, cause: Cause, resumed: int | None = None) -> RunState:
    number = start(session, run, resumed).number
    return lifecycle.requeue(session, run.id, number, cause)


def states(session: Session, *ends: tuple[Cause, int | None]) -> list[RunState]:
    run = make_run(session)
    return [end(session, run, cause, resumed) for cause, resumed in ends]


QUEUED, HELD = RunState.QUEUED, RunState.HELD


def test_what_ends_three_times_alike_is_held(session: Session) -> None:
    run = make_run(session)
    assert [end(session, run, KILLED) for _ in range(3)] == [QUEUED, QUEUED, HELD]
    session.refresh(run)
    assert (run.cause, run.device) == (Cause.REPEATED_FAILURE, None)


def test_another_cause_between_them_interrupts_the_row(session: Session) -> None:
    ends = [(KILLED, None), (KILLED, None), (Cause.NO_PROGRESS, None), (KILLED, None)]
    assert set(states(session, *ends)) == {QUEUED}


@pytest.mark.parametrize("cause", sorted(BLAMELESS))
def test_what_is_blameless_neither_counts_nor_interrupts(session: Session, cause: Cause) -> None:
    assert set(states(session, *[(cause, None)] * 5)) == {QUEUED}
    assert states(session, (KILLED, None), (cause, None), (KILLED, None), (KILLED, 9))[-1] is HELD


def test_a_run_that_moves_on_between_lost_workers_is_no_poison(session: Session) -> None:
    assert set(states(session, *[(LOST, 10 * number) for number in range(6)])) == {QUEUED}


def test_a_run_that_stands_still_between_lost_workers_is_held(session: Session) -> None:
    assert states(session, (LOST, None), (LOST, 10), (LOST, 10), (LOST, 10))[-2:] == [QUEUED, HELD]


def test_a_run_that_is_killed_is_held_however_far_it_comes(session: Session) -> None:
    assert states(session, (KILLED, None), (KILLED, 10), (KILLED, 20))[-1] is HELD


def test_a_released_run_has_all_its_tries_again(session: Session) -> None:
    run, admin = make_run(session), make_user(session, role=Role.ADMIN)
    for _ in range(2):
        assert [end(session, run, KILLED) for _ in range(3)] == [QUEUED, QUEUED, HELD]
        lifecycle.release_held(session, run.id, admin)
    session.flush()
    assert session.query(AuditEntry).count() == 2


def test_a_run_that_fills_the_disk_again_and_again_is_not_resumed_by_itself(
    session: Session,
) -> None:
    run = make_run(session)
    for _ in range(2):
        number = start(session, run).number
        assert lifecycle.hold(session, run.id, number, Cause.DISK_FULL) is HELD
        assert lifecycle.resume_held(session, run.id, Cause.DISK_FULL)
    lifecycle.hold(session, run.id, start(session, run).number, Cause.DISK_FULL)
    assert not lifecycle.resume_held(session, run.id, Cause.DISK_FULL)
    session.refresh(run)
    assert (run.state, run.cause) == (HELD, Cause.REPEATED_FAILURE)


@given(st.lists(st.sampled_from([KILLED, LOST, Cause.PREEMPTED, Cause.DRAINED]), max_size=9))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_run_is_held_exactly_at_the_third_of_a_kind_in_a_row(
    session: Session, causes: Sequence[Cause]
) -> None:
    run = make_run(session)
    row: list[Cause] = []
    for cause in causes:
        if cause not in BLAMELESS:
            row = [*row, cause] if row[-1:] == [cause] else [cause]
        state = end(session, run, cause)
        assert (state is HELD) == (len(row) == 3 and cause not in BLAMELESS)
        if state is HELD:
            break
    session.rollback()


class TestDeviceSeconds:
    def test_what_the_supervisor_counted_is_kept(self, session: Session) -> None:
        run = make_run(session)
        attempt = start(session, run)
        attempt.device_seconds = 12.5
        session.flush()
        lifecycle.finish(session, run.id, 1, RunState.SUCCEEDED)
        assert attempt.device_seconds == 12.5

    def test_without_a_word_of_it_the_clock_decides(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_run(session)
        attempt = start(session, run)
        later = clock.now() + timedelta(seconds=90)
        monkeypatch.setattr(clock, "now", lambda: later)
        lifecycle.finish(session, run.id, 1, RunState.SUCCEEDED)
        assert 89 < attempt.device_seconds < 91

    def test_they_are_never_negative(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_run(session)
        attempt = start(session, run)
        earlier = clock.now() - timedelta(hours=1)
        monkeypatch.setattr(clock, "now", lambda: earlier)
        lifecycle.requeue(session, run.id, 1, LOST)
        assert attempt.device_seconds == 0.0
