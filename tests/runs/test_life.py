"""Whatever happens to a run, in whatever order: the promises of its life hold."""

from collections.abc import Callable
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import OVER, Attempt, Role, Run, RunEvent, RunState, User
from app.runs import lifecycle
from app.runs.reasons import reason_of
from labs.contract import Cause
from tests.support.factories import make_run, make_user

OWNED = (RunState.ASSIGNED, RunState.RUNNING)
numbers = st.integers(0, 4)
causes = st.sampled_from([Cause.LOST_WORKER, Cause.KILLED, Cause.DRAINED])
outcomes = st.sampled_from([RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED])


class Life(RuleBasedStateMachine):
    """One run, and callers who neither know its state nor agree on its attempt."""

    session: Session

    def __init__(self) -> None:
        super().__init__()
        self.session.rollback()
        self.run_id: UUID = make_run(self.session).id
        self.owner: User = self.session.get_one(User, self.run().owner_id)
        self.admin = make_user(self.session, role=Role.ADMIN)
        self.ended: RunState | None = None
        self.highest = 0

    def run(self) -> Run:
        return self.session.get_one(Run, self.run_id, populate_existing=True)

    def attempts(self) -> list[Attempt]:
        found = select(Attempt).where(Attempt.run_id == self.run_id).order_by(Attempt.number)
        options = {"populate_existing": True}
        return list(self.session.scalars(found, execution_options=options))

    def tries(self, act: Callable[[], object], allowed: bool) -> None:
        """The act succeeds exactly when the state as it stands allows it."""
        before = self.run().event_count
        try:
            act()
        except Conflict:
            assert not allowed
            assert self.run().event_count == before
        else:
            assert allowed

    @rule()
    def assign(self) -> None:
        allowed = self.run().state is RunState.QUEUED
        why = reason_of("Placed.")
        self.tries(lambda: lifecycle.assign(self.session, self.run_id, "cpu", why), allowed)

    @rule(number=numbers)
    def claim(self, number: int) -> None:
        run = self.run()
        allowed = run.state is RunState.ASSIGNED and run.attempt == number
        self.tries(lambda: lifecycle.claim(self.session, self.run_id, number, "cpu"), allowed)

    @rule(number=numbers)
    def renew(self, number: int) -> None:
        run = self.run()
        allowed = run.state is RunState.RUNNING and run.attempt == number
        self.tries(lambda: lifecycle.renew(self.session, self.run_id, number), allowed)

    @rule(number=numbers, outcome=outcomes)
    def finish(self, number: int, outcome: RunState) -> None:
        run = self.run()
        allowed = run.state in OWNED and run.attempt == number
        self.tries(lambda: lifecycle.finish(self.session, self.run_id, number, outcome), allowed)

    @rule(number=numbers, cause=causes)
    def requeue(self, number: int, cause: Cause) -> None:
        run = self.run()
        allowed = run.state in OWNED and run.attempt == number
        self.tries(lambda: lifecycle.requeue(self.session, self.run_id, number, cause), allowed)

    @rule()
    def cancel(self) -> None:
        allowed = self.run().state not in OVER
        self.tries(lambda: lifecycle.request_cancel(self.session, self.run_id, self.owner), allowed)

    @rule()
    def release(self) -> None:
        allowed = self.run().state is RunState.HELD
        self.tries(lambda: lifecycle.release_held(self.session, self.run_id, self.admin), allowed)

    @invariant()
    def an_end_is_for_ever(self) -> None:
        state = self.run().state
        if self.ended is not None:
            assert state is self.ended
        elif state in OVER:
            self.ended = state
            assert self.run().finished_at is not None

    @invariant()
    def at_most_one_attempt_is_open_and_only_while_the_run_is_on_a_device(self) -> None:
        run = self.run()
        still_open = [each.number for each in self.attempts() if each.finished_at is None]
        assert still_open == ([run.attempt] if run.state in OWNED else [])

    @invariant()
    def attempts_rise_one_by_one(self) -> None:
        numbers_seen = [each.number for each in self.attempts()]
        assert numbers_seen == list(range(1, len(numbers_seen) + 1))
        assert self.run().attempt == len(numbers_seen) >= self.highest
        self.highest = len(numbers_seen)

    @invariant()
    def events_have_no_gap(self) -> None:
        found = select(RunEvent.seq).where(RunEvent.run_id == self.run_id).order_by(RunEvent.seq)
        count = self.run().event_count
        assert self.session.scalars(found).all() == list(range(1, count + 1))

    @invariant()
    def only_a_run_on_a_device_names_one_or_one_that_is_over(self) -> None:
        run = self.run()
        assert (run.device is not None) or run.state not in OWNED

    def teardown(self) -> None:
        self.session.rollback()


def test_the_promises_of_a_runs_life_hold(session: Session) -> None:
    machine = type("LifeHere", (Life,), {"session": session})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
