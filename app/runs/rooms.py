"""Places while they are being filled: what is free now, and what will be when. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from app.runs.places import Live, Place, Range, Waiting

UNKNOWN: Range = (0.0, math.inf)


class Use(NamedTuple):
    """Memory that a run on a device gives back, in so many seconds from now (a range)."""

    ends: Range
    memory_bytes: int
    device: str


@dataclass(slots=True)
class Memory:
    """Bytes that one device, or several of one host, may give away.

    Attributes:
        kept_seconds: If it is kept for a large run: for how long others may still use it.
    """

    total: int = 0
    free: int = 0
    uses: list[Use] = field(default_factory=list)
    kept_seconds: float | None = None
    _sorted: dict[int, list[Use]] = field(default_factory=dict)

    def add(self, use: Use) -> None:
        self.uses.append(use)
        self._sorted.clear()

    def by_end(self, end: int) -> list[Use]:
        """The uses by their earliest (0) or latest (1) end, sorted once for many questions."""
        if end not in self._sorted:
            self._sorted[end] = sorted(self.uses, key=lambda use: use.ends[end])
        return self._sorted[end]


@dataclass(slots=True, eq=False)
class Room:
    """An open place while it is being filled."""

    place: Place
    memory: Memory
    free_slots: int

    def fits(self, run: Waiting) -> bool:
        """Whether the run may start here now."""
        if self.free_slots <= 0 or run.memory_bytes > self.memory.free:
            return False
        kept = self.memory.kept_seconds
        return kept is None or (run.seconds is not None and run.seconds[1] <= kept)

    def rank(self) -> tuple[bool, float, int, str]:
        """A GPU before the CPU, then the emptiest, then the one with most memory free."""
        used = 1 - self.free_slots / self.place.slots
        return (self.place.kind == "cpu", used, -self.memory.free, self.place.name)

    def take(self, run: Waiting) -> None:
        self.free_slots -= 1
        self.memory.free -= run.memory_bytes
        self.memory.add(Use(run.seconds or UNKNOWN, run.memory_bytes, self.place.name))

    def starts_in(self, run: Waiting, end: int) -> float:
        """Seconds until it fits if nothing else comes; `end` 0 takes the earliest ends, 1 the latest."""
        free, slots, after = self.memory.free, self.free_slots, 0.0
        for use in self.memory.by_end(end):
            if free >= run.memory_bytes and slots > 0:
                break
            free += use.memory_bytes
            slots += use.device == self.place.name
            after = use.ends[end]
        return after if free >= run.memory_bytes and slots > 0 else math.inf


def rooms_of(places: Iterable[Place], now: datetime) -> list[Room]:
    """The open places as they are now; closed ones only take memory of their pool."""
    pools: dict[str, Memory] = {}
    rooms = []
    for place in places:
        memory = pools.setdefault(place.pool or f"device {place.name}", Memory())
        more = max(0, place.memory_bytes - memory.total)
        memory.total += more
        memory.free += more - sum(run.memory_bytes for run in place.runs)
        memory.uses += [Use(_seconds(run, now), run.memory_bytes, place.name) for run in place.runs]
        if place.is_open:
            rooms.append(Room(place, memory, place.slots - len(place.runs)))
    return rooms


def _seconds(run: Live, now: datetime) -> Range:
    if run.ends is None:
        return UNKNOWN
    low, high = ((end - now).total_seconds() for end in run.ends)
    # One that is late may end at any moment, or take as long again as it is late.
    return max(0.0, low), abs(high)
