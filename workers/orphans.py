"""Trainers that an earlier worker of this device left: found by what it wrote down, and ended.

A process number alone is never believed: boot and start of the process must match too.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from sqlalchemy import select

from app.database import reading, transaction
from app.i18n import N_
from app.models import Run, RunState
from app.runs import lifecycle
from app.runs.reasons import reason_of
from app.settings import get_settings
from labs.contract import Cause
from workers.hardware import boot_id

log = logging.getLogger(__name__)
Json = dict[str, Any]
FILE = "trainer.json"
GONE_SECONDS = 10.0
LIVE = (RunState.ASSIGNED, RunState.RUNNING)
# Of /proc/PID/stat, counted after the name: the start, in clock ticks since boot.
START_FIELD = 19


class Undead(Exception):
    """A process that was killed and is still there."""

    def __init__(self, process: Json) -> None:
        super().__init__(f"process {process['pid']} does not end")
        self.process = process


def note(run_dir: Path, pid: int) -> None:
    """Write down which process trains in this run directory."""
    known = identity(pid)
    if known is not None:
        beside = run_dir / f".{FILE}.new"
        beside.write_text(json.dumps(known))
        beside.replace(run_dir / FILE)


def forget(run_dir: Path) -> None:
    """The process has ended."""
    (run_dir / FILE).unlink(missing_ok=True)


def sweep(device: str, host_restarted: bool = False) -> list[Undead]:
    """At a worker's start: end what an earlier one of this device left, queue its runs again.

    Only the owner of the device's lock may call this: nobody else's trainers are hurt.
    Returns the processes that do not end.
    """
    undead = []
    for run_id, attempt in _live_on(device):
        run_dir = get_settings().run_dir(run_id)
        cause = Cause.LOST_WORKER
        if host_restarted or _is_of_another_boot(run_dir):
            cause = Cause.HOST_RESTARTED
        try:
            end_trainer(run_dir)
        except Undead as error:
            undead.append(error)
        _give_back(run_id, attempt, cause, RESTARTED[cause])
    return undead


RESTARTED = {
    Cause.LOST_WORKER: reason_of(N_("Its worker was started anew. The run continues.")),
    Cause.HOST_RESTARTED: reason_of(N_("Its machine was started anew. The run continues.")),
}


def hand_back(device: str) -> int:
    """At a worker's end: queue again what was given to the device and has not been started."""
    reason = reason_of(N_("Its device was taken out of service. It continues where it stopped."))
    return sum(_give_back(*each, Cause.DRAINED, reason) for each in _live_on(device))


def _live_on(device: str) -> Sequence[tuple[UUID, int]]:
    with reading() as session:
        wanted = select(Run.id, Run.attempt).where(Run.device == device, Run.state.in_(LIVE))
        return [(row[0], row[1]) for row in session.execute(wanted)]


def _give_back(run_id: UUID, attempt: int, cause: Cause, reason: Json) -> bool:
    try:
        with transaction() as session:
            lifecycle.requeue(session, run_id, attempt, cause, reason)
    except lifecycle.StaleAttempt:
        return False
    log.warning("run %s, attempt %d: given back to the queue (%s)", run_id, attempt, cause)
    return True


def end_trainer(run_dir: Path, patience: float = GONE_SECONDS) -> bool:
    """Kill the trainer that this run directory names, if it is the same process still.

    Raises:
        Undead: If it does not end within the patience.
    """
    known = recorded(run_dir)
    if known is None or not is_alive(known):
        return False
    with suppress(ProcessLookupError):
        os.killpg(known["pid"], signal.SIGKILL)
    with suppress(psutil.Error):
        psutil.Process(known["pid"]).wait(patience)
    if is_alive(known):
        raise Undead(known)
    forget(run_dir)
    return True


def identity(pid: int) -> Json | None:
    """What tells a process from any other, before and after it; None if there is none."""
    started = _started(pid)
    return None if started is None else {"pid": pid, "started": started, "boot": boot_id()}


def is_alive(known: Json) -> bool:
    """Whether this very process is there and more than a corpse that nobody has collected."""
    if known.get("boot") != boot_id() or _started(known["pid"]) != known.get("started"):
        return False
    try:
        return bool(psutil.Process(known["pid"]).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def recorded(run_dir: Path) -> Json | None:
    """The process that was noted in a run directory."""
    try:
        known: Json = json.loads((run_dir / FILE).read_text())
        return known if isinstance(known["pid"], int) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_of_another_boot(run_dir: Path) -> bool:
    known = recorded(run_dir)
    return known is not None and known.get("boot") != boot_id()


def _started(pid: int) -> float | None:
    """When a process started. Linux counts it from the boot, so no setting of a clock moves it."""
    try:
        if sys.platform == "linux":
            stat = Path(f"/proc/{pid}/stat").read_text()
            return float(stat.rpartition(")")[2].split()[START_FIELD])
        return float(psutil.Process(pid).create_time())
    except (OSError, psutil.Error):
        return None
