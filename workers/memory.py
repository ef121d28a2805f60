"""What a trainer and the processes it started take, sampled from outside."""

import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from app.i18n import N_
from app.runs.reasons import gibibytes, reason_of
from workers.hardware import Hardware
from workers.verdict import Halt, Stop

SAMPLE_SECONDS = 1.0
# To count the pages that are a process's own, the kernel walks through all of them and keeps it
# from getting new ones meanwhile. So they are counted anew when its resident memory, which costs
# nothing to read, has moved by this share, and every few seconds.
MOVED = 1 / 64
COUNT_SECONDS = 5.0
# Processes and threads of one run. Torch takes some for each core; a fork bomb takes all.
MOST_TASKS = 2000
# No run is ended below this, whatever was reserved for it: Python and torch take that much.
LEAST_LIMIT = 256 << 20


class MemoryWatch:
    """Memory and tasks of a process and its descendants; the peak is of memory.

    Memory is the device's where it says so, else the host's.
    """

    def __init__(self, pid: int, hardware: Hardware, limit: int | None = None) -> None:
        self._pid = pid
        self._hardware = hardware
        # A GPU's allocator holds its own limit (labs/trainer.py).
        self._limit = max(limit, LEAST_LIMIT) if limit and hardware.kind == "cpu" else None
        self._next = self._count_at = 0.0
        self._resident = 0
        self.peak: int | None = None
        self.used = 0
        self.tasks = 0

    def sample(self) -> None:
        """Look, at most once a second."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SAMPLE_SECONDS
        family = _family(self._pid)
        self.tasks = sum(_tasks(each) for each in family)
        used = self._hardware.process_bytes([each.pid for each in family])
        if used is None and self._hardware.kind == "cpu":
            used = self._own_bytes(family)
        if used:
            self.used = used
            self.peak = max(self.peak or 0, used)

    def _own_bytes(self, family: Sequence[psutil.Process]) -> int:
        resident, now = sum(map(_resident_bytes, family)), time.monotonic()
        if now < self._count_at and abs(resident - self._resident) < MOVED * self._resident:
            return self.used
        self._resident, self._count_at = resident, now + COUNT_SECONDS
        return sum(map(_own_bytes, family))

    @property
    def figures(self) -> dict[str, int]:
        """What was seen last, for the page of devices."""
        return {"memory_bytes": self.used, "tasks": self.tasks}

    def excess(self) -> Halt | None:
        """Why the trainer must end at once, if it takes more than it may."""
        if self._limit is not None and self.used > self._limit:
            told = N_("Used {used}, had {limit}.")
            values = {"used": gibibytes(self.used), "limit": gibibytes(self._limit)}
            return Halt(Stop.MEMORY, reason_of(told, **values))
        if self.tasks > MOST_TASKS:
            told = N_("Had {count} processes and threads; {limit} are allowed.")
            return Halt(Stop.TASKS, reason_of(told, count=self.tasks, limit=MOST_TASKS))
        return None


def end_family(pid: int) -> None:
    """Kill a process and its descendants, also those that left its group."""
    for each in reversed(_family(pid)):
        with suppress(psutil.Error):
            each.kill()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _tasks(process: psutil.Process) -> int:
    try:
        return int(process.num_threads())
    except psutil.Error:
        return 0


def _resident_bytes(process: psutil.Process) -> int:
    """All of its pages in memory, shared ones as well."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _own_bytes(process: psutil.Process) -> int:
    """Its own pages only: those of the forkserver are shared by all trainers."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:
        return 0
