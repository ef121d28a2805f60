"""The states of a run: what may follow what, and who may write it."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, Forbidden, NotFound
from app.models import Attempt, AuditEntry, Role, Run, RunState, User
from app.runs import lifecycle, queries
from app.runs.lifecycle import IllegalTransition, StaleAttempt
from app.runs.reasons import reason_of
from labs.contract import Cause
from tests.support.factories import make_classroom, make_run, make_user

WHY = reason_of("Placed on {device}.", device="cpu")


def assigned(session: Session, **values: Any) -> Run:
    run = make_run(session, **values)
    lifecycle.assign(session, run.id, "cpu", WHY)
    return run


def running(session: Session, **values: Any) -> Run:
    run = assigned(session, **values)
    lifecycle.claim(session, run.id, run.attempt, "cpu")
    return run


def attempt_of(session: Session, run: Run, number: int = 1) -> Attempt:
    return session.get_one(Attempt, (run.id, number), populate_existing=True)


def states_told(session: Session, run_id: UUID) -> list[str]:
    told = queries.events(session, run_id, kinds=["state"])
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    return [event.payload["state"] for event in told]


def test_a_run_goes_from_the_queue_to_its_end(session: Session) -> None:
    run = running(session)
    lifecycle.finish(session, run.id, 1, RunState.SUCCEEDED)
    session.refresh(run)
    assert run.state is RunState.SUCCEEDED
    assert run.started_at is not None
    assert run.finished_at is not None
    assert attempt_of(session, run).outcome == "succeeded"
    assert states_told(session, run.id) == ["assigned", "running", "succeeded"]


def test_an_attempt_is_claimed_once(session: Session) -> None:
    run = running(session)
    with pytest.raises(StaleAttempt):
        lifecycle.claim(session, run.id, 1, "cpu")


def test_only_the_device_it_was_given_to_claims_a_run(session: Session) -> None:
    run = assigned(session)
    with pytest.raises(StaleAttempt):
        lifecycle.claim(session, run.id, 1, "cuda:0")


def test_a_run_that_is_assigned_cannot_be_assigned_again(session: Session) -> None:
    run = assigned(session)
    with pytest.raises(IllegalTransition):
        lifecycle.assign(session, run.id, "cpu", WHY)


def test_many_claimers_find_one_winner(
    session: Session, session_factory: Callable[[], Session]
) -> None:
    run_id = assigned(session).id
    session.commit()
    outcomes: list[bool] = []

    def claim() -> None:
        with session_factory() as own:
            try:
                lifecycle.claim(own, run_id, 1, "cpu")
                own.commit()
                outcomes.append(True)
            except StaleAttempt:
                outcomes.append(False)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]


def test_a_requeued_run_keeps_its_place_and_rises_to_a_new_attempt(session: Session) -> None:
    run = running(session)
    queued_at = run.queued_at
    assert lifecycle.requeue(session, run.id, 1, Cause.LOST_WORKER) is RunState.QUEUED
    lifecycle.assign(session, run.id, "cuda:0", WHY)
    session.refresh(run)
    assert (run.attempt, run.queued_at) == (2, queued_at)
    assert attempt_of(session, run).finished_at is not None
    assert attempt_of(session, run, 2).finished_at is None


@pytest.mark.parametrize("late", ["renew", "finish", "requeue"])
def test_late_writes_of_an_old_attempt_are_refused(session: Session, late: str) -> None:
    run = running(session)
    lifecycle.requeue(session, run.id, 1, Cause.LOST_WORKER)
    lifecycle.assign(session, run.id, "cpu", WHY)
    lifecycle.claim(session, run.id, 2, "cpu")
    calls: dict[str, Callable[[], object]] = {
        "renew": lambda: lifecycle.renew(session, run.id, 1, progress_done=1.0),
        "finish": lambda: lifecycle.finish(session, run.id, 1, RunState.FAILED),
        "requeue": lambda: lifecycle.requeue(session, run.id, 1, Cause.KILLED),
    }
    with pytest.raises(StaleAttempt):
        calls[late]()
    session.refresh(run)
    assert (run.state, run.attempt, run.progress_done) == (RunState.RUNNING, 2, 0.0)


def test_a_renewal_notes_progress_and_proves_life(session: Session) -> None:
    run = running(session)
    before = attempt_of(session, run).heartbeat
    wishes = lifecycle.renew(session, run.id, 1, progress_done=3.0)
    assert (wishes.cancel, wishes.preempt) == (False, False)
    session.refresh(run)
    assert run.progress_done == 3.0
    assert attempt_of(session, run).heartbeat == before + 1


def test_a_run_nobody_claimed_is_not_blamed(session: Session) -> None:
    run = make_run(session)
    for number in range(1, 6):
        lifecycle.assign(session, run.id, "cpu", WHY)
        assert lifecycle.requeue(session, run.id, number, Cause.LOST_WORKER) is RunState.QUEUED


class TestCancelling:
    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.HELD])
    def test_what_has_not_started_is_cancelled_at_once(
        self, session: Session, state: RunState
    ) -> None:
        run = make_run(session, state=state)
        owner = session.get_one(User, run.owner_id)
        assert lifecycle.request_cancel(session, run.id, owner) is RunState.CANCELLED
        session.refresh(run)
        assert (run.state, run.cause) == (RunState.CANCELLED, Cause.CANCELLED)

    def test_an_assigned_run_cannot_be_claimed_afterwards(self, session: Session) -> None:
        run = assigned(session)
        lifecycle.request_cancel(session, run.id, session.get_one(User, run.owner_id))
        with pytest.raises(StaleAttempt):
            lifecycle.claim(session, run.id, 1, "cpu")
        assert attempt_of(session, run).finished_at is not None

    def test_a_running_run_is_asked_to_stop(self, session: Session) -> None:
        run = running(session)
        owner = session.get_one(User, run.owner_id)
        assert lifecycle.request_cancel(session, run.id, owner) is RunState.RUNNING
        assert lifecycle.renew(session, run.id, 1).cancel

    def test_a_run_to_cancel_that_loses_its_worker_is_cancelled(self, session: Session) -> None:
        run = running(session)
        lifecycle.request_cancel(session, run.id, session.get_one(User, run.owner_id))
        assert lifecycle.requeue(session, run.id, 1, Cause.LOST_WORKER) is RunState.CANCELLED

    def test_a_run_that_is_over_answers_conflict(self, session: Session) -> None:
        run = running(session)
        lifecycle.finish(session, run.id, 1, RunState.FAILED, Cause.DIVERGED)
        with pytest.raises(Conflict):
            lifecycle.request_cancel(session, run.id, session.get_one(User, run.owner_id))

    def test_a_strangers_run_is_not_found(self, session: Session) -> None:
        run = make_run(session)
        with pytest.raises(NotFound):
            lifecycle.request_cancel(session, run.id, make_user(session))

    def test_an_instructors_cancelling_is_written_down(self, session: Session) -> None:
        student, instructor = make_user(session), make_user(session, role=Role.INSTRUCTOR)
        make_classroom(session, student, instructor)
        run = make_run(session, student)
        lifecycle.request_cancel(session, run.id, instructor)
        session.flush()
        assert session.scalars(select(AuditEntry.action)).all() == ["cancel_run"]


def test_only_staff_release_a_held_run(session: Session) -> None:
    run = make_run(session, state=RunState.HELD, attempt=3)
    with pytest.raises(Forbidden):
        lifecycle.release_held(session, run.id, session.get_one(User, run.owner_id))
    lifecycle.release_held(session, run.id, make_user(session, role=Role.ADMIN))
    session.refresh(run)
    assert run.state is RunState.QUEUED


def test_a_state_is_told_only_if_it_was_reached(session: Session) -> None:
    run = assigned(session)
    with pytest.raises(StaleAttempt):
        lifecycle.finish(session, run.id, 7, RunState.SUCCEEDED)
    assert states_told(session, run.id) == ["assigned"]
