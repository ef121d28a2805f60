"""When a waiting run may start, as a range: a simulation of the queue. Pure.

If nobody else comes, turns are kept and runs take as long as estimated, the start lies in
the range: exactly so for runs of equal memory, about so where small ones pass large ones.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.runs.allowance import Allowance
from app.runs.places import Place, Waiting
from app.runs.rooms import UNKNOWN, Memory, Room, rooms_of

# Nothing sensible can be said of what comes after so long.
HORIZON_SECONDS = timedelta(days=365).total_seconds()
# So many different needs of memory are told apart when a device is chosen.
MOST_LEVELS = 64
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


def _simulate(runs: Sequence[Waiting], rooms: Sequence[Room], end: int) -> list[float]:
    """Seconds until each starts when all take the least (0) or the most (1) of their time."""
    devices = _devices(rooms, end)
    levels = _levels(runs)
    soonest = {level: _Soonest(level, devices) for level in levels}
    starts = []
    for run in runs:
        device = soonest[levels[bisect_left(levels, run.memory_bytes)]].device()
        starts.append(device.take(run, (run.seconds or UNKNOWN)[end]) if device else math.inf)
    return starts


def _levels(runs: Iterable[Waiting]) -> list[int]:
    """The needs that are told apart when a device is chosen: all, or some steps if too many."""
    needs = sorted({run.memory_bytes for run in runs})
    step = math.ceil(len(needs) / MOST_LEVELS) or 1
    return needs[::-step][::-1]


class _Soonest:
    """The devices by when so much memory and a slot are free there.

    A device is only ever taken, never given back, so that moment only moves on: an entry of
    the heap is a lower bound, and the first that still holds is the soonest.
    """

    def __init__(self, need: int, devices: Sequence["_Device"]) -> None:
        self._need, self._devices = need, devices
        self._heap = [(device.fits_after(need), n) for n, device in enumerate(devices)]
        heapq.heapify(self._heap)

    def device(self) -> "_Device | None":
        while self._heap:
            bound, number = self._heap[0]
            after = self._devices[number].fits_after(self._need)
            if after == bound:
                return self._devices[number] if after < math.inf else None
            heapq.heapreplace(self._heap, (after, number))
        return None


@dataclass(slots=True)
class _Device:
    """A device, or those of one host that share its memory, at some moment of the simulation."""

    total: int
    free: int
    slots: int
    ends: list[End]  # sorted
    time: float = 0.0

    def fits_after(self, need: int) -> float:
        """Seconds from now; infinite if it never fits."""
        free, slots, after = self.free, self.slots, self.time
        for end, memory, slot in self.ends:
            if free >= need and slots > 0:
                break
            free, slots, after = free + memory, slots + slot, max(after, end)
        return after if free >= need and slots > 0 else math.inf

    def take(self, run: Waiting, seconds: float) -> float:
        """Let the run start as soon as it fits; returns when that is."""
        gone = 0
        while self.free < run.memory_bytes or self.slots < 1:
            end, memory, slot = self.ends[gone]
            self.free, self.slots = self.free + memory, self.slots + slot
            self.time = max(self.time, end)
            gone += 1
        del self.ends[:gone]
        self.free, self.slots = self.free - run.memory_bytes, self.slots - 1
        insort(self.ends, (self.time + seconds, run.memory_bytes, 1))
        return self.time


def _devices(rooms: Sequence[Room], end: int) -> list[_Device]:
    found: dict[int, tuple[Memory, list[Room]]] = {}
    for room in rooms:
        found.setdefault(id(room.memory), (room.memory, []))[1].append(room)
    return [_device(memory, sharing, end) for memory, sharing in found.values()]


def _device(memory: Memory, sharing: Sequence[Room], end: int) -> _Device:
    names = {room.place.name for room in sharing}
    ends = [(use.ends[end], use.memory_bytes, int(use.device in names)) for use in memory.uses]
    slots = sum(room.free_slots for room in sharing)
    return _Device(memory.total, memory.free, slots, sorted(ends))
