"""A worker's word that its device is there: registration, heartbeat, telemetry."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.database import transaction
from app.errors import Conflict
from app.models import Device, DeviceState
from workers.hardware import Hardware, boot_id

log = logging.getLogger(__name__)
BEAT_SECONDS = 2.0
# A device of that name elsewhere that was heard of so recently is somebody else's.
TAKEN = timedelta(seconds=10)
Json = dict[str, Any]


class Presence:
    """The row of a device, kept by its worker."""

    def __init__(self, name: str, hardware: Hardware, slots: int) -> None:
        self.name = name
        self._hardware = hardware
        self._slots = slots
        self._over = threading.Event()
        self._ready = False

    def register(self) -> None:
        """Make or renew the row. A device that an admin drained stays drained.

        Raises:
            Conflict: If a worker on another machine owns a device of this name and is alive.
        """
        now = clock.now()
        with transaction() as session:
            row = session.get(Device, self.name, with_for_update=True)
            if row is None:
                row = Device(name=self.name, state=DeviceState.ACTIVE, heartbeat=0)
                session.add(row)
            elif row.host != socket.gethostname() and row.ready and now - row.heartbeat_at < TAKEN:
                raise Conflict(
                    "The device {name} is served by a worker on {host}.",
                    name=self.name,
                    host=row.host,
                )
            for field, value in self._facts().items():
                setattr(row, field, value)
            row.heartbeat += 1
            row.heartbeat_at = now
            row.telemetry = self._hardware.telemetry()

    def set_ready(self, ready: bool) -> None:
        """Say whether runs may be given to the device, now and with every later beat."""
        self._ready = ready
        self._beat()

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
            self._beat()

    def _beat(self) -> None:
        told = {
            "heartbeat": Device.heartbeat + 1,
            "heartbeat_at": clock.now(),
            "ready": self._ready,
            "telemetry": self._hardware.telemetry(),
        }
        try:
            with transaction() as session:
                session.execute(update(Device).where(Device.name == self.name).values(told))
        except SQLAlchemyError:
            log.warning("%s: heartbeat not told: the database is busy or away", self.name)

    def _facts(self) -> Json:
        return {
            "kind": self._hardware.kind,
            "title": self._hardware.title[:120],
            "host": socket.gethostname()[:255],
            "memory_bytes": self._hardware.memory_bytes,
            "slots": self._slots,
            "ready": self._ready,
            "pid": os.getpid(),
            "boot_id": boot_id(),
            "facts": self._hardware.facts(),
        }
