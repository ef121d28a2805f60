"""One attempt from claim to end: start its trainer, follow it, stop it when asked, name its end."""

import errno
import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from app.database import transaction
from app.i18n import N_
from app.models import RunState
from app.runs import lifecycle
from app.runs.dispatch import fill_devices
from app.runs.lifecycle import StaleAttempt, Wishes
from app.runs.reasons import reason_of
from app.settings import Settings, get_settings
from labs.contract import Cause
from labs.runspec import write_params
from workers import orphans
from workers.follow import Follower
from workers.hardware import Hardware
from workers.memory import MemoryWatch
from workers.task import Task, claim
from workers.trainers import Forge, Trainer
from workers.verdict import Stop, Verdict, judge, oom_kills

log = logging.getLogger(__name__)
TICK_SECONDS = 0.4
# The database may be away for so long at the end of a run before its supervisor gives up and
# leaves the rest to the housekeeper: everything is in the run directory.
RECORD_PATIENCE_SECONDS = 300
# Of the grace, so much for the trainer's checkpoint; the rest is for writing its end down.
GRACE_SHARE = 0.7
# SQLite lets waiting writers poll, and some of twenty starve: measured at load 9 with 20 runs of
# 50 steps/s, the 99th percentile of the lag fell from 6.9 to 1.2 s when they queue here instead.
_one_writer = threading.Lock()


@dataclass(frozen=True, slots=True)
class Bench:
    """What this worker carries runs out with."""

    device: str
    hardware: Hardware
    forge: Forge
    draining: threading.Event


def carry_out(bench: Bench, run_id: UUID, attempt: int) -> None:
    """Carry out one attempt; a bell that rang twice, or too late, changes nothing."""
    if bench.draining.is_set():
        return
    try:
        with transaction() as session:
            task = claim(session, run_id, attempt, bench.device, bench.hardware.kind)
    except StaleAttempt as stale:
        log.info("run %s, attempt %d: not claimed: %s", run_id, attempt, stale)
        return
    try:
        Supervisor(bench, task).supervise()
    except StaleAttempt as stale:
        log.warning("run %s, attempt %d: lease lost: %s", run_id, attempt, stale)
    fill_devices()


class Supervisor:
    """Watches one trainer."""

    def __init__(self, bench: Bench, task: Task) -> None:
        self.bench = bench
        self.task = task
        self.settings: Settings = get_settings()
        self.follower = Follower(task.run_id, task.attempt, task.run_dir, task.offset)
        self.stop: Stop | None = None
        self.kill_at: float | None = None
        self.started = self.heard_at = time.monotonic()
        self.oom_before = oom_kills()

    def supervise(self) -> None:
        """From the start of the trainer to the recorded end."""
        try:
            write_params(self.task.run_dir, self.task.spec)
            trainer = self.bench.forge.start(self.task.run_dir)
        except OSError as error:
            failed = _could_not_start(error)
            self._patiently(lambda: self._record(failed))
            return
        exit_code = self._watch_to_the_end(trainer)
        self._patiently(self._read_the_rest)
        host_oom = oom_kills() > self.oom_before
        verdict = judge(self.follower.end, exit_code, self.stop, self.follower.step, host_oom)
        self._patiently(lambda: self._record(verdict))

    def _watch_to_the_end(self, trainer: Trainer) -> int:
        """However watching ends, the process is gone afterwards; returns its exit code."""
        try:
            orphans.note(self.task.run_dir, trainer.pid)
            self._watch(trainer, MemoryWatch(trainer.pid, self.bench.hardware))
        finally:
            trainer.signal(signal.SIGKILL)
            exit_code = trainer.exit_code()
            orphans.forget(self.task.run_dir)
        return exit_code

    def _watch(self, trainer: Trainer, memory: MemoryWatch) -> None:
        while not trainer.wait(TICK_SECONDS):
            memory.sample()
            try:
                self._heed(self._follow(pid=trainer.pid, peak_memory_bytes=memory.peak))
            except SQLAlchemyError:
                # The events stay in the file, and the lease says by itself when it is over.
                log.warning("run %s: database busy or away", self.task.run_id, exc_info=True)
            self._press(trainer)

    def _follow(self, **seen: int | None) -> Wishes:
        batch = self.follower.read()
        with _one_writer, transaction() as session:
            wishes = self.follower.take(session, batch)
            if seen:
                self.follower.update_attempt(session, **seen)
        self.follower.committed(batch)
        if batch.events:
            self.heard_at = time.monotonic()
        return wishes

    def _heed(self, wishes: Wishes) -> None:
        """Decide to stop, once; the first reason is the one that is told."""
        now = time.monotonic()
        reasons = {
            Stop.CANCEL: wishes.cancel,
            Stop.DRAIN: self.bench.draining.is_set(),
            Stop.PREEMPT: wishes.preempt,
            Stop.TIME_LIMIT: now - self.started > self.settings.time_limit.total_seconds(),
            Stop.NO_PROGRESS: now - self.heard_at > self.settings.no_progress.total_seconds(),
        }
        if self.stop is None:
            self.stop = next((stop for stop, holds in reasons.items() if holds), None)

    def _press(self, trainer: Trainer) -> None:
        """Ask once by SIGTERM, and insist when the time to save a checkpoint is over."""
        if self.stop is None and self.bench.draining.is_set():
            self.stop = Stop.DRAIN  # also when the database cannot be asked
        if self.stop is None:
            return
        now = time.monotonic()
        if self.kill_at is None:
            self.kill_at = now + self.settings.stop_grace.total_seconds() * GRACE_SHARE
            trainer.signal(signal.SIGTERM)
        elif now > self.kill_at:
            trainer.signal(signal.SIGKILL)

    def _read_the_rest(self) -> None:
        while self._unread():
            self._follow()

    def _unread(self) -> bool:
        return self.follower.read().offset != self.follower.offset

    def _record(self, verdict: Verdict) -> None:
        run_id, attempt = self.task.run_id, self.task.attempt
        with transaction() as session:
            if verdict.state is not None:
                lifecycle.finish(
                    session, run_id, attempt, verdict.state, verdict.cause, verdict.reason
                )
                return
            assert verdict.cause is not None, "a run goes back to the queue for a reason"
            lifecycle.requeue(session, run_id, attempt, verdict.cause, verdict.reason)

    def _patiently(self, write: Callable[[], None]) -> None:
        """Try until the database takes it: what ended must not be told as running for ever."""
        give_up_at = time.monotonic() + RECORD_PATIENCE_SECONDS
        while True:
            try:
                write()
                return
            except SQLAlchemyError:
                if time.monotonic() > give_up_at:
                    raise
                log.warning("run %s: not recorded yet", self.task.run_id, exc_info=True)
                time.sleep(TICK_SECONDS)


def _could_not_start(error: OSError) -> Verdict:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        told = N_("The run directory could not be written: {reason}.")
        return Verdict(Cause.DISK_FULL, RunState.FAILED, reason_of(told, reason=reason))
    told = N_("The trainer could not be started: {reason}.")
    return Verdict(Cause.LAB_CRASHED, RunState.FAILED, reason_of(told, reason=reason))
