"""The memory a trainer takes, sampled from outside."""

import time

import psutil

from workers.hardware import Hardware

SAMPLE_SECONDS = 1.0


class MemoryWatch:
    """Peak memory of a process and its children: of the device where it says so, else of the host."""

    def __init__(self, pid: int, hardware: Hardware) -> None:
        self._pid = pid
        self._hardware = hardware
        self._next = 0.0
        self.peak: int | None = None

    def sample(self) -> None:
        """Look, at most once a second."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SAMPLE_SECONDS
        try:
            process = psutil.Process(self._pid)
            family = [process, *process.children(recursive=True)]
            pids = [each.pid for each in family]
            now = self._hardware.process_bytes(pids)
            if now is None and self._hardware.kind == "cpu":
                # Its own pages only: those of the forkserver are shared by all trainers.
                now = sum(each.memory_full_info().uss for each in family)
        except psutil.Error:
            return  # it has just ended
        if now is not None:
            self.peak = max(self.peak or 0, now)
