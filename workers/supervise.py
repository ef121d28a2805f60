"""One attempt from claim to end: start its trainer, follow it, stop it when asked, name its end."""

import errno
import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from app.database import transaction
from app.i18n import N_
from app.models import Device, DeviceState, RunState
from app.runs import lifecycle
from app.runs.dispatch import fill_devices
from app.runs.lifecycle import StaleAttempt, Wishes
from app.runs.reasons import reason_of
from app.settings import Settings, get_settings
from labs.contract import Cause
from labs.rundir import sweep_all
from labs.runspec import write_params
from workers import orphans, pressure, undead
from workers.duty import Duty
from workers.follow import Follower
from workers.hardware import Hardware
from workers.memory import MemoryWatch
from workers.orphans import Undead
from workers.output import OutputCap
from workers.task import Task, claim
from workers.trainers import Forge, Trainer
from workers.verdict import Halt, Stop, Verdict, judge, oom_kills

log = logging.getLogger(__name__)
Json = dict[str, Any]
NO_WISHES = Wishes(cancel=False, preempt=False)
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
    duty: Duty
    # A killed process that is still there after so many seconds is told as undead.
    death_patience: float = 20.0


def carry_out(bench: Bench, run_id: UUID, attempt: int) -> None:
    """Carry out one attempt; a bell that rang twice, or too late, changes nothing."""
    if bench.duty.leaving.is_set():
        return
    try:
        task = _claim(bench, run_id, attempt)
        if task is not None:
            Supervisor(bench, task).supervise()
    except StaleAttempt as stale:
        log.info("run %s, attempt %d: not, or no longer, ours: %s", run_id, attempt, stale)
        return
    except OperationalError:
        log.warning("run %s, attempt %d: the database is busy or away", run_id, attempt)
        return
    fill_devices()


def _claim(bench: Bench, run_id: UUID, attempt: int) -> Task | None:
    """The attempt, claimed; None if it was given back because nothing may start here now."""
    with transaction() as session:
        state = session.scalar(select(Device.state).where(Device.name == bench.device))
        if bench.duty.fault is not None or state not in (None, DeviceState.ACTIVE):
            told = N_("Its device takes no new runs now.")
            lifecycle.requeue(session, run_id, attempt, Cause.DRAINED, reason_of(told))
            return None
        if not pressure.may_start():
            told = N_("The disk is nearly full. It starts when there is room.")
            lifecycle.hold(session, run_id, attempt, Cause.DISK_FULL, reason_of(told))
            return None
        return claim(session, run_id, attempt, bench.device, bench.hardware.kind)


class Supervisor:
    """Watches one trainer."""

    def __init__(self, bench: Bench, task: Task) -> None:
        self.bench = bench
        self.task = task
        self.settings: Settings = get_settings()
        self.follower = Follower(task.run_id, task.attempt, task.run_dir, task.offset)
        self.output = OutputCap(task.run_dir)
        self.halt: Halt | None = None
        self.kill_at: float | None = None
        self.killed_at: float | None = None
        self.started = self.heard_at = time.monotonic()
        self.oom_before = oom_kills()

    def supervise(self) -> None:
        """From the start of the trainer to the recorded end."""
        try:
            # One of an earlier attempt may live on: its worker was stopped, not killed.
            orphans.end_trainer(self.task.run_dir)
            write_params(self.task.run_dir, self.task.spec)
            trainer = self.bench.forge.start(self.task.run_dir)
        except OSError as error:
            self._record_patiently(_could_not_start(error))
            return
        except Undead as found:
            self._break_down(found.process)
            self._record_patiently(judge(None, 0, Stop.FAULT, 0, host_oom=False))
            return
        exit_code = self._watch_to_the_end(trainer)
        self._patiently(self._read_the_rest)
        self._record_patiently(self._verdict(exit_code))

    def _verdict(self, exit_code: int) -> Verdict:
        if exit_code != 0 and self.halt is None:
            # What broke the device may have ended the trainer before anybody looked.
            self.bench.duty.examine(self.bench.hardware)
            self.halt = Halt(Stop.FAULT) if self.bench.duty.fault else None
        stop, why = (self.halt.stop, self.halt.why) if self.halt else (None, None)
        host_oom = oom_kills() > self.oom_before
        return judge(self.follower.end, exit_code, stop, self.follower.step, host_oom, why)

    def _watch_to_the_end(self, trainer: Trainer) -> int:
        """However watching ends, the process is gone afterwards or the device is out of service.

        Returns its exit code.
        """
        orphans.note(self.task.run_dir, trainer.pid)
        memory = MemoryWatch(trainer.pid, self.bench.hardware, self.task.spec.memory_limit_bytes)
        try:
            self._watch(trainer, memory)
        finally:
            self.bench.duty.figures.pop(str(self.task.run_id), None)
            exit_code = trainer.end(self.bench.death_patience)
            if exit_code is not None:
                orphans.forget(self.task.run_dir)
                sweep_all(self.task.run_dir)
            elif process := orphans.recorded(self.task.run_dir):
                self._break_down(process)
        return -signal.SIGKILL if exit_code is None else exit_code

    def _break_down(self, process: Json) -> None:
        """Take the device out of service before the run can be given to it again."""
        device = self.bench.device
        log.error("%s: process %d was killed and does not end", device, process["pid"])
        undead.break_down(self.bench.duty, device, process)
        self._patiently(lambda: undead.tell(self.bench.duty, device))

    def _watch(self, trainer: Trainer, memory: MemoryWatch) -> None:
        while not trainer.wait(TICK_SECONDS) and not self._is_hopeless():
            memory.sample()
            self.bench.duty.figures[str(self.task.run_id)] = memory.figures
            self.output.hold()
            wishes = NO_WISHES
            try:
                wishes = self._follow(pid=trainer.pid, peak_memory_bytes=memory.peak)
            except SQLAlchemyError:
                # The events stay in the file, and the lease says by itself when it is over.
                log.warning("run %s: database busy or away", self.task.run_id, exc_info=True)
            self.halt = self.halt or self._decide(wishes, memory)
            self._press(trainer)

    def _follow(self, **seen: int | None) -> Wishes:
        batch = self.follower.read()
        with _one_writer, transaction() as session:
            wishes = self.follower.take(session, batch, device_seconds=self._seconds(), **seen)
        self.follower.committed(batch)
        if batch.events:
            self.heard_at = time.monotonic()
        return wishes

    def _seconds(self) -> float:
        """How long this attempt has had the device, whatever was done to the clock meanwhile."""
        return round(time.monotonic() - self.started, 3)

    def _decide(self, wishes: Wishes, memory: MemoryWatch) -> Halt | None:
        """Whether to stop; the first reason is the one that is told."""
        now, duty = time.monotonic(), self.bench.duty
        reasons = {
            Stop.CANCEL: wishes.cancel,
            Stop.FAULT: duty.fault is not None,
            Stop.DISK: not pressure.may_go_on(),
            Stop.DRAIN: duty.is_drained,
            Stop.PREEMPT: wishes.preempt,
            Stop.TIME_LIMIT: now - self.started > self.settings.time_limit.total_seconds(),
            Stop.NO_PROGRESS: now - self.heard_at > self.settings.no_progress.total_seconds(),
        }
        first = next((Halt(stop) for stop, holds in reasons.items() if holds), None)
        return memory.excess() or first

    def _press(self, trainer: Trainer) -> None:
        """Ask once by SIGTERM, and insist when the time to save a checkpoint is over."""
        if self.halt is None:
            return
        now = time.monotonic()
        if self.kill_at is None and not self.halt.stop.is_sudden:
            self.kill_at = now + self.settings.stop_grace.total_seconds() * GRACE_SHARE
            trainer.signal(signal.SIGTERM)
        elif self.kill_at is None or now > self.kill_at:
            self.killed_at = self.killed_at or now
            trainer.kill()

    def _is_hopeless(self) -> bool:
        """Whether it was killed and has not ended: the kernel holds it, and no lease helps."""
        patience = self.bench.death_patience
        return self.killed_at is not None and time.monotonic() - self.killed_at > patience

    def _read_the_rest(self) -> None:
        while self._unread():
            self._follow()

    def _unread(self) -> bool:
        return self.follower.read().offset != self.follower.offset

    def _record_patiently(self, verdict: Verdict) -> None:
        seconds = self._seconds()
        self._patiently(lambda: self._record(verdict, seconds))

    def _record(self, verdict: Verdict, seconds: float) -> None:
        run_id, attempt = self.task.run_id, self.task.attempt
        cause, reason = verdict.cause, verdict.reason
        with transaction() as session:
            self.follower.update_attempt(session, device_seconds=seconds)
            if verdict.state is RunState.HELD and cause is not None:
                lifecycle.hold(session, run_id, attempt, cause, reason)
            elif verdict.state is not None:
                lifecycle.finish(session, run_id, attempt, verdict.state, cause, reason)
            else:
                assert cause is not None, "a run goes back to the queue for a reason"
                lifecycle.requeue(session, run_id, attempt, cause, reason)

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
        return Verdict(Cause.DISK_FULL, RunState.HELD, reason_of(told, reason=reason))
    told = N_("The trainer could not be started: {reason}.")
    return Verdict(Cause.LAB_CRASHED, RunState.FAILED, reason_of(told, reason=reason))
