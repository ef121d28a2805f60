"""A worker's word that its device is there: registration, heartbeat, telemetry, faults."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.database import reading, transaction
from app.devices.health import set_fault
from app.errors import Conflict
from app.models import Device, DeviceState
from app.settings import get_settings
from workers.claims import elsewhere
from workers.duty import Duty, free_bytes
from workers.hardware import Hardware, boot_id

log = logging.getLogger(__name__)
BEAT_SECONDS = 2.0
Json = dict[str, Any]


class Presence:
    """The row of a device, kept by its worker."""

    def __init__(
        self,
        name: str,
        hardware: Hardware,
        slots: int,
        duty: Duty | None = None,
        patience_seconds: float = 3 * BEAT_SECONDS,
    ) -> None:
        self.name = name
        self.was_restarted = False
        self._hardware = hardware
        self._slots = slots
        self._duty = duty or Duty()
        self._patience = patience_seconds
        self._over = threading.Event()
        self._ready = False

    def register(self, may_rename: bool = True) -> None:
        """Make or renew the row. A device that is paused or drained stays so.

        A name that a living worker on another machine has is left to it: the device is called
        `NAME@host` then, if it may be renamed.

        Raises:
            Conflict: If the name is taken and no other one may be used.
        """
        if self._is_taken():
            self._rename(may_rename)
        with transaction() as session:
            row = session.get(Device, self.name, with_for_update=True)
            if row is None:
                row = Device(
                    name=self.name,
                    state=DeviceState.ACTIVE,
                    heartbeat=0,
                    canary_sent=0,
                    boot_id=boot_id(),
                )
                session.add(row)
            self.was_restarted = row.boot_id not in ("", boot_id())
            for field, value in self._facts().items():
                setattr(row, field, value)
            row.heartbeat += 1
            row.heartbeat_at = clock.now()
            row.telemetry = self._telemetry()
            # What was sent to an earlier worker says nothing about this one's hearing.
            row.canary_heard = self._duty.heard = row.canary_sent
            self._duty.state = row.state

    def set_ready(self, ready: bool) -> None:
        """Say whether runs may be given to the device, now and with every later beat."""
        self._ready = ready
        self._beat()

    def stop_taking_runs(self) -> None:
        """Say with the next beat that nothing new may come; does not wait for the database."""
        self._ready = False
        threading.Thread(target=self._beat, name="last-beat", daemon=True).start()

    @contextmanager
    def told_regularly(self) -> Iterator[None]:
        """Beat from a thread of its own until the block ends, then say that it is over."""
        thread = threading.Thread(target=self._keep_telling, name="presence", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self.set_ready(False)

    def _keep_telling(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self._duty.examine(self._hardware)
            self._beat()

    def _beat(self) -> None:
        told = {
            "heartbeat": Device.heartbeat + 1,
            "heartbeat_at": clock.now(),
            "ready": self._ready,
            "telemetry": self._telemetry(),
        }
        heard = self._duty.heard
        try:
            with transaction() as session:
                session.execute(update(Device).where(Device.name == self.name).values(told))
                session.execute(
                    update(Device)
                    .where(Device.name == self.name, Device.canary_heard < heard)
                    .values(canary_heard=heard, canary_heard_at=clock.now())
                )
                if fault := self._duty.untold_fault:
                    set_fault(session, self.name, fault)
            if fault:
                log.error("%s: taken out of service: %s", self.name, fault)
                self._duty.told(fault)
        except SQLAlchemyError:
            log.warning("%s: heartbeat not told: the database is busy or away", self.name)

    def _telemetry(self) -> Json:
        worker = psutil.Process()
        return {
            **self._hardware.telemetry(),
            "disk_free_bytes": free_bytes(get_settings().home),
            "worker_bytes": worker.memory_info().rss,
            "worker_threads": worker.num_threads(),
            "runs": dict(self._duty.figures),
        }

    def _facts(self) -> Json:
        settings = get_settings()
        memory = self._hardware.memory_bytes
        return {
            "kind": self._hardware.kind,
            "title": self._hardware.title[:120],
            "host": socket.gethostname()[:255],
            "memory_bytes": min(memory, settings.device_memory or memory),
            "slots": self._slots,
            "ready": self._ready,
            "pid": os.getpid(),
            "boot_id": boot_id(),
            "facts": {**self._hardware.facts(), "memory_total_bytes": memory},
        }

    def _rename(self, may_rename: bool) -> None:
        first, self.name = self.name, elsewhere(self.name)
        if may_rename and not self._is_taken():
            log.info("%s is another machine's; this one is called %s", first, self.name)
            return
        raise Conflict(
            "The device {name} is served by a worker on {host}. Choose another name with --name.",
            name=first,
            host=self._row_of(first).host,
        )

    def _is_taken(self) -> bool:
        """Whether a worker on another machine has this name: its heartbeat is seen to move.

        Not by the clock: that of another machine may be wrong, and a worker that has just been
        killed is no longer there.
        """
        seen = self._find(self.name)
        if seen is None or not seen.ready or self._is_ours(seen):
            return False
        until = time.monotonic() + self._patience
        while self._row_of(self.name).heartbeat == seen.heartbeat:
            if time.monotonic() > until:
                return False
            self._over.wait(BEAT_SECONDS / 4)
        return True

    @staticmethod
    def _is_ours(row: Device) -> bool:
        """On one machine the lock in the data folder decides."""
        return row.host == socket.gethostname() and row.boot_id == boot_id()

    @staticmethod
    def _find(name: str) -> Device | None:
        with reading() as session:
            return session.get(Device, name)

    def _row_of(self, name: str) -> Device:
        with reading() as session:
            return session.get_one(Device, name)
