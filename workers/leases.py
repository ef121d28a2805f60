"""Finds attempts whose worker no longer renews its lease, and gives their runs back.

A lease is judged by whether its counter changes, on this process's own clock: the clocks
of two machines may disagree, and a clock may be set.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.database import reading, transaction
from app.i18n import N_
from app.models import Attempt, Device, Run, RunState
from app.runs import lifecycle
from app.runs.lifecycle import StaleAttempt
from app.runs.reasons import reason_of
from labs.contract import Cause
from workers.hardware import boot_id
from workers.orphans import RESTARTED

log = logging.getLogger(__name__)
# An assigned run whose device's worker lives is rung for; after so many leases it goes elsewhere.
UNCLAIMED_LEASES = 4


class Watch:
    """How long each counter has stood still."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[Any, tuple[Any, float]] = {}

    def still_for(self, counters: dict[Any, Any]) -> dict[Any, float]:
        """Seconds since each of these counters was first seen at its value; forgets the others."""
        now = self._clock()
        self._seen = {
            key: self._seen[key]
            if key in self._seen and self._seen[key][0] == value
            else (value, now)
            for key, value in counters.items()
        }
        return {key: now - since for key, (_value, since) in self._seen.items()}


class Sweeper:
    """Requeues runs of workers that are gone."""

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease_seconds
        self._attempts = Watch(clock)
        self._devices = Watch(clock)

    def sweep(self) -> int:
        """Give back every run whose lease is over; returns how many."""
        live, devices = _counters()
        device_still = self._devices.still_for(
            {name: device.heartbeat for name, device in devices.items()}
        )
        still = self._attempts.still_for(
            {(run_id, number): beat for run_id, number, beat, *_ in live}
        )
        lost = [
            (run_id, number, device)
            for run_id, number, _beat, state, device in live
            if self._is_lost(
                state, still[run_id, number], device_still.get(device, self._lease + 1)
            )
        ]
        return sum(
            _give_back(run_id, number, _cause(devices.get(device)))
            for run_id, number, device in lost
        )

    def _is_lost(self, state: RunState, still: float, device_still: float) -> bool:
        if state is RunState.RUNNING:
            return still > self._lease
        patience = self._lease if device_still > self._lease else UNCLAIMED_LEASES * self._lease
        return still > patience


def _counters() -> tuple[Sequence[Any], dict[str, Device]]:
    with reading() as session:
        live = session.execute(
            select(Run.id, Run.attempt, Attempt.heartbeat, Run.state, Run.device)
            .join(Attempt, (Attempt.run_id == Run.id) & (Attempt.number == Run.attempt))
            .where(Run.state.in_([RunState.ASSIGNED, RunState.RUNNING]))
        ).all()
        devices = session.scalars(select(Device)).all()
    return live, {device.name: device for device in devices}


def _cause(device: Device | None) -> Cause:
    """After a restart of this very machine its housekeeper may be there before its worker is."""
    if device is None or device.host != socket.gethostname():
        return Cause.LOST_WORKER
    is_of_this_boot = device.boot_id in ("", boot_id())
    return Cause.LOST_WORKER if is_of_this_boot else Cause.HOST_RESTARTED


GONE = {
    Cause.LOST_WORKER: reason_of(
        N_("Its worker disappeared. The run continues from its last checkpoint.")
    ),
    Cause.HOST_RESTARTED: RESTARTED[Cause.HOST_RESTARTED],
}


def _give_back(run_id: UUID, number: int, cause: Cause) -> bool:
    try:
        with transaction() as session:
            state = lifecycle.requeue(session, run_id, number, cause, GONE[cause])
    except StaleAttempt:
        return False
    log.warning("run %s, attempt %d: lease over; now %s", run_id, number, state.value)
    return True
