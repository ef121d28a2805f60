"""When a waiting run may start, as a range: a simulation of the queue. Pure.

If nobody else comes, turns are kept and runs take as long as estimated, the start lies in
the range: exactly so for runs of equal memory, about so where small ones pass large ones.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.runs.allowance import Allowance
from app.runs.places import Place, Waiting
from app.runs.rooms import UNKNOWN, Memory, Room, rooms_of

# Nothing sensible can be said of what comes after so long.
HORIZON_SECONDS = timedelta(days=365).total_seconds()
End = tuple[float, int, int]  # seconds from now, bytes and slots that become free then


def expected_starts(
    left: Sequence[Waiting], places: Sequence[Place], now: datetime, allowance: Allowance
) -> dict[UUID, tuple[datetime, datetime]]:
    """From when to when each run may start; runs of which nothing can be said are absent.

    Args:
        left: What waits, in the order of turns.
        places: The devices with the runs on them.
        now: The present.
        allowance: Runs at their limit are passed by, and not told a time.
    """
    able = [run for run in left if allowance.allows(run)]
    rooms = rooms_of(places, now)
    found = {}
    for run, *times in zip(able, _simulate(able, rooms, 0), _simulate(able, rooms, 1), strict=True):
        if max(times) <= HORIZON_SECONDS:
            early, late = (now + timedelta(seconds=each) for each in sorted(times))
            found[run.run] = (early, late)
    return found


def _simulate(runs: Iterable[Waiting], rooms: Sequence[Room], end: int) -> list[float]:
    """Seconds until each starts when all take the least (0) or the most (1) of their time."""
    line = [(0.0, number, device) for number, device in enumerate(_devices(rooms, end))]
    starts = []
    for run in runs:
        after, number, device = _soonest(line, run)
        starts.append(after)
        if device is not None:
            device.take(run, after, (run.seconds or UNKNOWN)[end])
            heapq.heappush(line, (device.next_slot(), number, device))
    return starts


def _soonest(
    line: list[tuple[float, int, "_Device"]], run: Waiting
) -> tuple[float, int, "_Device | None"]:
    """Take the device out of the line on which the run starts first.

    The line is a heap by the next free slot: no device further back can be sooner.
    """
    best: tuple[float, int, _Device | None] = (math.inf, 0, None)
    passed = []
    while line and line[0][0] < best[0]:
        entry = heapq.heappop(line)
        after = entry[2].fits_after(run.memory_bytes)
        if after < best[0]:
            best = (after, entry[1], entry[2])
        passed.append(entry)
    for entry in passed:
        if entry[2] is not best[2]:
            heapq.heappush(line, entry)
    return best


@dataclass(slots=True)
class _Device:
    """A device, or those of one host that share its memory, at some moment of the simulation."""

    total: int
    free: int
    slots: int
    ends: list[End]
    time: float = 0.0

    def next_slot(self) -> float:
        """No run can start here before."""
        return self.time if self.slots > 0 or not self.ends else max(self.time, self.ends[0][0])

    def fits_after(self, need: int) -> float:
        if need > self.total:
            return math.inf
        free, slots, after = self.free, self.slots, self.time
        for end, memory, slot in sorted(self.ends) if free < need or slots < 1 else ():
            if free >= need and slots > 0:
                break
            free, slots, after = free + memory, slots + slot, max(after, end)
        return after if free >= need and slots > 0 else math.inf

    def take(self, run: Waiting, after: float, seconds: float) -> None:
        while self.free < run.memory_bytes or self.slots < 1:
            _, memory, slot = heapq.heappop(self.ends)
            self.free, self.slots = self.free + memory, self.slots + slot
        self.time = after
        self.free, self.slots = self.free - run.memory_bytes, self.slots - 1
        heapq.heappush(self.ends, (after + seconds, run.memory_bytes, 1))


def _devices(rooms: Sequence[Room], end: int) -> list[_Device]:
    found: dict[int, tuple[Memory, list[Room]]] = {}
    for room in rooms:
        found.setdefault(id(room.memory), (room.memory, []))[1].append(room)
    return [_device(memory, sharing, end) for memory, sharing in found.values()]


def _device(memory: Memory, sharing: Sequence[Room], end: int) -> _Device:
    names = {room.place.name for room in sharing}
    ends = [(use.ends[end], use.memory_bytes, int(use.device in names)) for use in memory.uses]
    heapq.heapify(ends)
    slots = sum(room.free_slots for room in sharing)
    return _Device(memory.total, memory.free, slots, ends)
