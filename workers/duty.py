"""What a worker's device may do now: shared by its presence, its lookout and its supervisors."""

import shutil
import threading
from pathlib import Path
from typing import Any

from app.models import DeviceState
from workers.hardware import Hardware

Json = dict[str, Any]


class Duty:
    """Whether the device takes runs, keeps those it has, and whether it is broken.

    Attributes:
        leaving: The worker was asked to end: runs save a checkpoint and go back.
        state: The state of the device's row when it was last read.
        fault: What is wrong with the device, found by this worker and not yet repaired.
        heard: The number of the last canary that came through the broker.
        figures: What each run on the device takes now, by its id.
    """

    def __init__(self) -> None:
        self.leaving = threading.Event()
        self.state = DeviceState.ACTIVE
        self.fault: Json | None = None
        self.heard = 0
        self.figures: dict[str, Json] = {}
        self._told: Json | None = None

    @property
    def takes_runs(self) -> bool:
        return self.fault is None and self.state is DeviceState.ACTIVE

    @property
    def is_drained(self) -> bool:
        """Whether what runs must save and go back to the queue."""
        return self.leaving.is_set() or self.state is DeviceState.DRAINED

    def hear(self, number: int) -> None:
        """A canary came through."""
        self.heard = max(self.heard, number)

    def examine(self, hardware: Hardware) -> None:
        """Ask the device whether it is broken."""
        if fault := hardware.fault():
            self.break_down(fault)

    def break_down(self, fault: Json) -> None:
        """Something is wrong with the device; the first fault is the one that is told."""
        self.fault = self.fault or fault

    @property
    def untold_fault(self) -> Json | None:
        """The fault that is not in the database yet."""
        return None if self._told is self.fault else self.fault

    @property
    def is_told(self) -> bool:
        """Whether there is a fault, and it is in the database."""
        return self._told is not None and self._told is self.fault

    def told(self, fault: Json) -> None:
        """The fault is in the database."""
        self._told = fault

    def repaired(self) -> None:
        """Somebody has taken the device into service again."""
        self.fault = self._told = None


def free_bytes(folder: Path) -> int:
    """The room left on the disk of a folder, or of where it will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
