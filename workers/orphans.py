"""Trainers that an earlier worker of this device left: found by what it wrote down, and ended.

A process number alone is never believed: boot and start time of the process must match too.
"""

import json
import logging
import os
import signal
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
GONE_SECONDS = 10
LIVE = (RunState.ASSIGNED, RunState.RUNNING)


def note(run_dir: Path, pid: int) -> None:
    """Write down which process trains in this run directory."""
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(pid).create_time()
        content = {"pid": pid, "started": started, "boot": boot_id()}
        beside = run_dir / f".{FILE}.new"
        beside.write_text(json.dumps(content))
        beside.replace(run_dir / FILE)


def forget(run_dir: Path) -> None:
    """The process has ended."""
    (run_dir / FILE).unlink(missing_ok=True)


def sweep(device: str) -> int:
    """At a worker's start: end what an earlier one of this device left, queue its runs again.

    Only the owner of the device's lock may call this: nobody else's trainers are hurt.
    Returns how many runs were given back.
    """
    reason = reason_of(N_("Its worker was started anew. The run continues."))
    return sum(_give_back(*each, Cause.LOST_WORKER, reason) for each in _live_on(device))


def hand_back(device: str) -> int:
    """At a worker's end: queue again what was given to the device and has not been started."""
    reason = reason_of(N_("Its device was taken out of service. It continues where it stopped."))
    return sum(_give_back(*each, Cause.DRAINED, reason) for each in _live_on(device))


def _live_on(device: str) -> Sequence[tuple[UUID, int]]:
    with reading() as session:
        wanted = select(Run.id, Run.attempt).where(Run.device == device, Run.state.in_(LIVE))
        return [(row[0], row[1]) for row in session.execute(wanted)]


def _give_back(run_id: UUID, attempt: int, cause: Cause, reason: Json) -> bool:
    end_trainer(get_settings().run_dir(run_id))
    try:
        with transaction() as session:
            lifecycle.requeue(session, run_id, attempt, cause, reason)
    except lifecycle.StaleAttempt:
        return False
    log.warning("run %s, attempt %d: given back to the queue (%s)", run_id, attempt, cause)
    return True


def end_trainer(run_dir: Path) -> bool:
    """Kill the trainer that this run directory names, if it is the same process still."""
    process = _recorded(run_dir)
    if process is None:
        return False
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        process.wait(GONE_SECONDS)
    forget(run_dir)
    return True


def _recorded(run_dir: Path) -> psutil.Process | None:
    try:
        known = json.loads((run_dir / FILE).read_text())
        process = psutil.Process(known["pid"])
        same = known["boot"] == boot_id() and process.create_time() == known["started"]
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process if same else None
