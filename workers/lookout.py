"""The worker's own look at the database, every two seconds: new runs, orders, and its hearing.

A broker that is dead, flushed, deaf or half open costs a run two seconds, not its turn.
"""

import logging
import threading
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.database import reading
from app.devices.health import is_deaf
from app.models import Device, DeviceState, Run, RunState
from workers.desk import Desk
from workers.duty import Duty

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0


class Lookout:
    """Reads what the database wants of a device, and passes it on."""

    def __init__(self, device: str, duty: Duty, desk: Desk) -> None:
        self.device = device
        self.is_deaf = False
        self._duty = duty
        self._desk = desk

    def keep(self, over: threading.Event) -> None:
        """Look until it is over, or until the worker should start anew because it is deaf."""
        while not over.is_set():
            self.look()
            if self.is_deaf and self._desk.is_idle:
                return
            over.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Look once; a database that is busy or away is asked again."""
        was_told = self._duty.is_told
        try:
            device, given = self._read()
        except SQLAlchemyError:
            log.warning("%s: not looked: the database is busy or away", self.device)
            return
        if device is None:
            return
        self._heed(device, was_told)
        for run_id, attempt in given:
            self._desk.take(run_id, attempt)

    def _read(self) -> tuple[Device | None, Sequence[tuple[UUID, int]]]:
        wanted = (
            select(Run.id, Run.attempt)
            .where(Run.state == RunState.ASSIGNED, Run.device == self.device)
            .order_by(Run.assigned_at)
        )
        with reading() as session:
            given = [(row[0], row[1]) for row in session.execute(wanted)]
            return session.get(Device, self.device), given

    def _heed(self, device: Device, was_told: bool) -> None:
        if device.state is not self._duty.state:
            log.info("%s: is %s now", self.device, device.state.value)
        self._duty.state = device.state
        # Only a fault that was in the row before it was read can be seen to have gone from it.
        if was_told and device.state is DeviceState.ACTIVE and device.fault is None:
            self._duty.repaired()
        self.is_deaf = is_deaf(device)
