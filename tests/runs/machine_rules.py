"""The rules of the machine: whatever may happen to a box, one event at a time, in any order."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import database
from app.database import reading, transaction
from app.errors import Conflict
from app.models import Run, RunState, User
from app.runs import lifecycle
from app.runs.lifecycle import StaleAttempt
from app.runs.reasons import reason_of
from app.settings import get_settings
from labs.contract import Cause
from tests.runs.machine_laws import ALWAYS, no_run_is_lost
from tests.runs.machine_world import (
    LIVE,
    End,
    Worker,
    World,
    cancelled,
    full_disk,
    give_up,
    succeed,
)

some = st.integers(0, 11)
WHY = reason_of("Others wait.")
numbers = itertools.count()
ENDS: list[End | None] = [
    None, succeed, full_disk, *map(give_up, [Cause.KILLED, Cause.NO_PROGRESS, Cause.DRAINED])
]  # fmt: skip


class Machine(RuleBasedStateMachine):
    """One box and its people. `some` picks whom or what a rule is about."""

    folder: Path
    # The one that stands now; the clock of the process reads its time.
    worlds: ClassVar[list[World]] = []

    @initialize()
    def begin(self) -> None:
        self.world = World(self.folder / str(next(numbers)))
        self.worlds[:] = [self.world]
        for person in self.world.people:
            self.world.submit(person)
        self.world.start_all()

    def a_run(self, pick: int) -> UUID:
        return list(self.world.books)[pick % len(self.world.books)]

    def a_worker(self, pick: int) -> Worker:
        return self.world.workers[pick % len(self.world.workers)]

    def an_awake_worker(self, pick: int) -> Worker | None:
        awake = [worker for worker in self.world.workers if not worker.frozen]
        return awake[pick % len(awake)] if awake else None

    def tries(self, act: Callable[[Session], object], run_id: UUID, *allowed: RunState) -> bool:
        """The act succeeds exactly in these states; otherwise it is refused and changes nothing."""
        before = self.look(run_id)
        try:
            with transaction() as session:
                act(session)
        except Conflict:
            assert before[0] not in allowed
            assert self.look(run_id) == before
            return False
        assert before[0] in allowed
        return True

    def look(self, run_id: UUID) -> tuple[RunState, str | None, int]:
        with reading() as session:
            run = session.get_one(Run, run_id)
        return run.state, run.cause, run.event_count

    runs_exist = precondition(lambda self: self.world.books)
    workers_exist = precondition(lambda self: self.world.workers)

    @rule(pick=some)
    def submit(self, pick: int) -> None:
        person = self.world.people[pick % 2]
        with reading() as session:
            waiting = select(func.count()).where(
                Run.owner_id == person, Run.state == RunState.QUEUED
            )
            room = (session.scalar(waiting) or 0) < get_settings().max_waiting_per_person
        assert self.world.submit(person) == room

    @rule()
    def dispatch(self) -> None:
        self.world.dispatch()

    @rule()
    def start_all(self) -> None:
        self.world.start_all()

    @rule(pick=some, times=st.integers(1, 3), lost=st.booleans())
    @precondition(lambda self: self.world.bells)
    def answer(self, pick: int, times: int, lost: bool) -> None:
        """A bell rings, perhaps several times, and perhaps it rings again later."""
        bell = self.world.bells[pick % len(self.world.bells)]
        state, _, _ = self.look(bell[0])
        claimed = [self.world.answer(bell) for _ in range(times)]
        assert not any(claimed[1:])
        assert state is RunState.ASSIGNED or not claimed[0]
        if lost:
            self.world.bells.remove(bell)

    @rule(what=st.sampled_from(["flush the broker", "restart the web", "-1 h", "+1 h"]))
    def around_them(self, what: str) -> None:
        if what == "flush the broker":
            self.world.bells.clear()
        elif what == "restart the web":
            database.reset()
        else:
            self.world.now += timedelta(hours=int(what.removesuffix(" h")))

    @rule(pick=some, steps=st.integers(1, 4), renews=st.booleans())
    @workers_exist
    def train(self, pick: int, steps: int, renews: bool) -> None:
        worker = self.a_worker(pick)
        for _ in range(steps):
            self.world.train(worker)
        if renews and not worker.frozen:
            self.world.take(worker)

    @rule(pick=some)
    @workers_exist
    def crash_before_the_commit(self, pick: int) -> None:
        if worker := self.an_awake_worker(pick):
            self.world.take(worker, crash=True)

    @rule(pick=some)
    @workers_exist
    def checkpoint(self, pick: int) -> None:
        worker = self.an_awake_worker(pick)
        if worker and worker.step and self.world.owns(worker):
            self.world.save(worker)

    @rule(pick=some, torn=st.booleans())
    @workers_exist
    def publish(self, pick: int, torn: bool) -> None:
        if worker := self.an_awake_worker(pick):
            self.world.publish(worker, torn)

    @rule(pick=some, end=st.sampled_from(ENDS))
    @workers_exist
    def end(self, pick: int, end: End | None) -> None:
        """Its trainer ends in some way; with none, the worker is killed with it."""
        if end is None:
            self.world.workers.remove(self.a_worker(pick))
        elif worker := self.an_awake_worker(pick):
            self.world.end(worker, end)

    @rule(pick=some)
    @workers_exist
    def stop_the_worker(self, pick: int) -> None:
        self.a_worker(pick).frozen = True

    @rule(pick=some)
    @workers_exist
    def continue_the_worker(self, pick: int) -> None:
        """What it writes late is refused, all of it, if its run went on without it."""
        worker = self.a_worker(pick)
        worker.frozen = False
        if self.world.owns(worker):
            return
        before = self.look(worker.run_id)
        late: list[Callable[[Session], object]] = [
            lambda session: worker.follower.take(session, worker.follower.read()),
            lambda session: succeed(session, worker.run_id, worker.attempt),
            lambda session: give_up(Cause.KILLED)(session, worker.run_id, worker.attempt),
            lambda session: lifecycle.hold(session, worker.run_id, worker.attempt, Cause.DISK_FULL),
        ]
        for write in late:
            with pytest.raises(StaleAttempt), transaction() as session:
                write(session)
        assert self.look(worker.run_id) == before

    @rule()
    def let_leases_run_out(self) -> None:
        self.world.let_leases_run_out()
        awake = {(each.run_id, each.attempt) for each in self.world.workers if not each.frozen}
        with reading() as session:
            running = select(Run.id, Run.attempt).where(Run.state == RunState.RUNNING)
            assert {tuple(row) for row in session.execute(running)} <= awake

    @rule(pick=some, teacher=st.booleans())
    @runs_exist
    def cancel(self, pick: int, teacher: bool) -> None:
        run_id = self.a_run(pick)
        with reading() as session:
            owner = session.get_one(Run, run_id).owner_id
        actor = self.world.teacher if teacher else owner
        if self.tries(
            lambda session: lifecycle.request_cancel(session, run_id, person(session, actor)),
            run_id, *LIVE, RunState.QUEUED, RunState.HELD,
        ):  # fmt: skip
            self.world.privileged += teacher

    @rule(pick=some)
    @workers_exist
    def heed(self, pick: int) -> None:
        """A worker does what it was asked when it last renewed."""
        worker = self.an_awake_worker(pick)
        if worker is None or not self.world.take(worker):
            return
        if worker.wishes.cancel:
            self.world.end(worker, cancelled)
        elif worker.wishes.preempt:
            self.world.save(worker)
            self.world.end(worker, give_up(Cause.PREEMPTED))

    @rule(
        pick=some,
        other=some,
        what=st.sampled_from(
            ["resume_held", "release", "boost", "ask_to_make_room", "take_result"]
        ),
    )
    @runs_exist
    def decide(self, pick: int, other: int, what: str) -> None:
        getattr(self, what)(pick, other)

    def resume_held(self, pick: int, other: int) -> None:
        run_id = self.a_run(pick)
        state, cause, _ = self.look(run_id)
        expected = state is RunState.HELD and cause == Cause.DISK_FULL
        assert self.world.resume(run_id) == expected

    def release(self, pick: int, other: int) -> None:
        run_id, actor = self.a_run(pick), self.world.teacher
        if self.tries(
            lambda session: lifecycle.release_held(session, run_id, person(session, actor)),
            run_id, RunState.HELD,
        ):  # fmt: skip
            self.world.returned += 1
            self.world.privileged += 1

    def boost(self, pick: int, other: int) -> None:
        run_id, actor = self.a_run(pick), self.world.teacher
        self.world.privileged += self.tries(
            lambda session: lifecycle.set_boost(session, run_id, person(session, actor), other % 2 == 0),
            run_id, RunState.QUEUED,
        )  # fmt: skip

    def ask_to_make_room(self, pick: int, other: int) -> None:
        run_id = self.a_run(pick)
        with transaction() as session:
            run = session.get_one(Run, run_id)
            free = run.state is RunState.RUNNING and run.preempt_requested_at is None
            assert lifecycle.ask_to_make_room(session, run_id, run.attempt, WHY) == free

    def take_result(self, pick: int, other: int) -> None:
        run_id, source = self.a_run(pick), self.a_run(other)
        if self.look(source)[0] is RunState.SUCCEEDED:
            self.tries(
                lambda session: lifecycle.take_result(session, run_id, source),
                run_id, RunState.QUEUED,
            )  # fmt: skip

    @invariant()
    def the_laws_hold(self) -> None:
        with reading() as session:
            for law in ALWAYS:
                law(self.world, session)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.recover()
        self.the_laws_hold()
        with reading() as session:
            no_run_is_lost(self.world, session)


def person(session: Session, user_id: UUID) -> User:
    return session.get_one(User, user_id)
