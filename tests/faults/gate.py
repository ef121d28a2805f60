"""Named places in a trainer's life at which it waits until a test has done its deed there.

A test writes the name of a place into the run directory before the run starts. The trainer
that comes there says so and stands still until it may go on; nobody has to guess a moment.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WANTED, REACHED, OPEN, PIDS = "gate.wanted", "gate.reached", "gate.open", "gate.pids"
TICK_SECONDS = 0.005
# Places that come again and again: the one with an older checkpoint behind it is meant.
SAVES_BEFORE = 1


class Gate:
    """What a trainer asks at each place; one that nobody wants costs a comparison."""

    def __init__(self, run_dir: Path, stopping: Callable[[], bool]) -> None:
        self._folder = run_dir
        self._stopping = stopping
        self._saves = 0
        wanted = run_dir / WANTED
        self._wanted = wanted.read_text() if wanted.exists() else ""
        with (run_dir / PIDS).open("a") as file:
            file.write(f"{os.getpid()}\n")
        sys.addaudithook(self._see)

    def reach(self, place: str) -> None:
        """Stand still here if a test wants it, until the gate opens or SIGTERM comes."""
        if place != self._wanted or (self._folder / OPEN).exists():
            return
        beside = self._folder / f".{REACHED}"
        beside.write_text(json.dumps({"pid": os.getpid()}))
        beside.replace(self._folder / REACHED)
        while not (self._folder / OPEN).exists() and not self._stopping():
            time.sleep(TICK_SECONDS)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python tells its hooks of every file that opens: here the manifest of a checkpoint."""
        if event != "open" or arguments[1] != "w":
            return
        path = str(arguments[0])
        if "/.unfinished-step-" in path and path.endswith("/manifest.json"):
            self._saves += 1
            if self._saves == SAVES_BEFORE + 1:
                self.reach("saving")


def want(run_dir: Path, place: str) -> None:
    """Ask for a stop at this place, before the run starts."""
    run_dir.mkdir(parents=True)
    (run_dir / WANTED).write_text(place)


def reached(run_dir: Path) -> int | None:
    """The process that stands at the gate, if one has come there."""
    found = run_dir / REACHED
    return int(json.loads(found.read_text())["pid"]) if found.exists() else None


def open_gate(run_dir: Path) -> None:
    (run_dir / OPEN).touch()


def pids(run_dir: Path) -> list[int]:
    """Every trainer process that this run has had."""
    noted = run_dir / PIDS
    return [int(line) for line in noted.read_text().split()] if noted.exists() else []
