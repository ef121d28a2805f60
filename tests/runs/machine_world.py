"""People, devices, workers, a broker and two clocks, all of which may fail, around a real database.

Workers and trainers are simulated, so that every order of events can be had at will; all that
they write passes through the code that real ones use.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app import database
from app.database import reading, transaction
from app.errors import TooMany
from app.models import Attempt, Base, Device, Role, Run, RunState, User
from app.runs import dispatch, lifecycle, quota, telling
from app.runs.lifecycle import StaleAttempt, Wishes
from labs.contract import Cause
from labs.published import publishing
from tests.runs.machine_book import LOSS, SCORE, Book, Line
from tests.support.factories import (
    NOON,
    make_classroom,
    make_dataset,
    make_device,
    make_model,
    make_run,
    make_user,
)
from workers.follow import FILE, Follower
from workers.leases import UNCLAIMED_LEASES, Sweeper

LEASE = 10.0
SLOTS = {"cpu": 2, "cuda:0": 1}
LIVE = (RunState.ASSIGNED, RunState.RUNNING)
Bell = tuple[UUID, int, str]
End = Callable[[Session, UUID, int], object]


@dataclass
class Worker:
    """A supervisor with its trainer, for one attempt."""

    run_id: UUID
    attempt: int
    device: str
    follower: Follower
    step: int
    frozen: bool = False  # stopped by SIGSTOP: reads and renews nothing
    seconds: float = 0.0
    wishes: Wishes = field(default_factory=lambda: Wishes(cancel=False, preempt=False))


class World:
    """Everything beside the code on trial. `now` is the wall clock, `steady` never jumps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now: datetime = NOON
        self.steady = 0.0
        self.sweeper = Sweeper(LEASE, clock=lambda: self.steady)
        self.books: dict[UUID, Book] = {}
        self.bells: list[Bell] = []
        self.workers: list[Worker] = []
        self.privileged = 0
        self.returned = 0  # runs that came back from being held
        self.number = 0.0
        with transaction() as session:
            _wipe(session)
            people = [make_user(session) for _ in range(2)]
            teacher = make_user(session, role=Role.INSTRUCTOR)
            make_classroom(session, *people, teacher)
            for name, slots in SLOTS.items():
                make_device(session, name, slots=slots, host=name)
            self.inputs = {
                "base_model_id": make_model(session).id,
                "dataset_id": make_dataset(session).id,
            }
            self.people, self.teacher = [person.id for person in people], teacher.id

    # What people do.

    def submit(self, person: UUID) -> bool:
        """Whether there was room for one more run."""
        try:
            with transaction() as session:
                owner = session.get_one(User, person)
                quota.check(session, owner, quota.take_turn(session, owner))
                run = make_run(session, owner, queued_at=self.now, **self.inputs)
        except TooMany:
            return False
        self.books[run.id] = Book()
        (self.folder / str(run.id)).mkdir(parents=True)
        return True

    def act(self, deed: Callable[[Session, User], object], actor: UUID) -> Any:
        with transaction() as session:
            return deed(session, session.get_one(User, actor))

    # What the housekeeper and the broker do.

    def dispatch(self) -> None:
        self.now += timedelta(seconds=1)
        with transaction() as session:
            beat = {"heartbeat_at": self.now, "heartbeat": Device.heartbeat + 1}
            session.execute(update(Device).values(beat))
            decision, bells = dispatch.place_waiting_runs(session, self.now)
        self.bells += bells
        telling.tell(decision.plan, self.now, decision.world.rules, decision.instead)

    def ring_again(self) -> None:
        with reading() as session:
            found = session.execute(
                select(Run.id, Run.attempt, Run.device).where(Run.state == RunState.ASSIGNED)
            )
            self.bells += [(row[0], row[1], row[2]) for row in found if row[2]]

    def start_all(self) -> None:
        """Whatever can start, does, without a message lost."""
        self.dispatch()
        self.bells.clear()
        self.ring_again()
        for bell in self.bells:
            self.answer(bell)

    def resume(self, run_id: UUID) -> bool:
        """There is room on the disk again."""
        with transaction() as session:
            resumed = lifecycle.resume_held(session, run_id, Cause.DISK_FULL)
        self.returned += resumed
        return resumed

    def let_leases_run_out(self) -> None:
        """Whoever lives renews in time; who does not has lost its run afterwards."""
        for _ in range(3):
            self.sweeper.sweep()
            self.steady += LEASE * 0.6
            for worker in [worker for worker in self.workers if not worker.frozen]:
                self.take(worker)
            with transaction() as session:
                session.execute(update(Device).values(heartbeat=Device.heartbeat + 1))
        self.sweeper.sweep()

    # What workers and trainers do.

    def answer(self, bell: Bell) -> bool:
        """A worker hears a bell; whether it claimed the attempt."""
        run_id, attempt, device = bell
        try:
            with transaction() as session:
                lifecycle.claim(session, run_id, attempt, device)
                offset = session.get_one(Attempt, (run_id, attempt)).events_offset
        except StaleAttempt:
            return False
        book, folder = self.books[run_id], self.folder / str(run_id)
        follower = Follower(run_id, attempt, folder, offset)
        book.boundary[attempt] = len(book.lines)
        worker = Worker(run_id, attempt, device, follower, book.checkpoint)
        self.workers.append(worker)
        if book.checkpoint:
            self._say(worker, "resumed", book.checkpoint)
        return True

    def train(self, worker: Worker) -> None:
        """One step; its points are in the file, and nobody has acknowledged them."""
        worker.step += 1
        self.number += 1.0
        values = {LOSS: self.number} | ({SCORE: -self.number} if worker.step % 2 == 0 else {})
        self._say(worker, "metrics", worker.step, values)

    def save(self, worker: Worker) -> None:
        """A checkpoint, and a model that is published beside it."""
        self.books[worker.run_id].checkpoint = worker.step
        self._say(worker, "checkpoint", worker.step)

    def publish(self, worker: Worker, torn: bool) -> None:
        target = worker.follower.run_dir / "artifacts" / "adapter"
        facts = {"name": "adapter", "kind": "adapter", "step": 1, "attempt": worker.attempt}
        with publishing(target, facts) as folder:
            (folder / "weights").write_bytes(b"12345")
        manifest = json.loads((target / "manifest.json").read_text())
        told: dict[str, Any] = {
            "name": "adapter",
            "artifact_kind": "adapter",
            "path": "artifacts/adapter",
        }
        told |= {"bytes": manifest["bytes"], "sha256": manifest["sha256"], "step": 1}
        if torn:
            told["sha256"] = "0" * 64
        self.books[worker.run_id].lines.append(Line(worker.attempt, "artifact", 1))
        self._append(worker, {"kind": "artifact", "attempt": worker.attempt, "t": 1.5, **told})

    def take(self, worker: Worker, crash: bool = False) -> bool:
        """The supervisor's tick; whether its attempt still owned the run."""
        batch = worker.follower.read()
        owns = self.owns(worker)
        try:
            with database.session_factory() as session:
                worker.wishes = worker.follower.take(session, batch)
                seconds = worker.seconds + 0.5
                worker.follower.update_attempt(session, device_seconds=seconds)
                if crash:
                    return True
                database.commit(session)
        except StaleAttempt:
            assert not owns, "a worker that owns its run was refused"
            self.workers.remove(worker)
            return False
        assert owns, "a write of a superseded attempt was accepted"
        worker.seconds = seconds
        worker.follower.committed(batch)
        book = self.books[worker.run_id]
        book.seconds[worker.attempt] = seconds
        book.take(worker.attempt)
        return True

    def end(self, worker: Worker, deed: End) -> None:
        """The supervisor reads the rest and writes the end down, unless it is too late."""
        if not self.take(worker):
            return
        self.workers.remove(worker)
        with transaction() as session:
            deed(session, worker.run_id, worker.attempt)

    def owns(self, worker: Worker) -> bool:
        with reading() as session:
            state = session.execute(
                select(Run.attempt, Run.state).where(Run.id == worker.run_id)
            ).one()
        return tuple(state) == (worker.attempt, RunState.RUNNING)

    def recover(self) -> None:
        """Every process dies, every message is lost; then others come and work in peace."""
        self.bells.clear()
        self.workers.clear()
        self.sweeper.sweep()
        self.steady += LEASE * (UNCLAIMED_LEASES + 1)
        self.sweeper.sweep()
        for run_id in self.books:
            self.resume(run_id)
        for _ in range(2 * len(self.books)):
            self.start_all()
            for worker in list(self.workers):
                self.train(worker)
                self.end(worker, succeed)

    def _say(
        self, worker: Worker, kind: str, step: int, values: dict[str, float] | None = None
    ) -> None:
        line = Line(worker.attempt, kind, step, values or {})
        self.books[worker.run_id].lines.append(line)
        self._append(worker, line.event())

    def _append(self, worker: Worker, event: dict[str, Any]) -> None:
        with (worker.follower.run_dir / FILE).open("a") as file:
            file.write(json.dumps(event) + "\n")


def succeed(session: Session, run_id: UUID, attempt: int) -> None:
    lifecycle.finish(session, run_id, attempt, RunState.SUCCEEDED)


def cancelled(session: Session, run_id: UUID, attempt: int) -> None:
    lifecycle.finish(session, run_id, attempt, RunState.CANCELLED, Cause.CANCELLED)


def full_disk(session: Session, run_id: UUID, attempt: int) -> None:
    lifecycle.hold(session, run_id, attempt, Cause.DISK_FULL)


def give_up(cause: Cause) -> End:
    return lambda session, run_id, attempt: lifecycle.requeue(session, run_id, attempt, cause)


def _wipe(session: Session) -> None:
    for table in reversed(Base.metadata.sorted_tables):
        session.execute(delete(table))
