"""Who goes where now. Pure: everything it needs is an argument, its effect is a value.

Runs are placed in the order of their turns, each where it fits; smaller ones pass by a
large one that does not fit. Once that one has waited long, a device is kept for it, and
only runs that end before it could start may still go there (EASY backfill: Lifka, 1995,
"The ANL/IBM SP Scheduling System").
"""

import math
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any
from uuid import UUID

from app.i18n import N_
from app.runs import explanation
from app.runs.allowance import Allowance
from app.runs.explanation import Explanation
from app.runs.places import Live, Place, Rules, Waiting, patient_since
from app.runs.reasons import gibibytes, reason_of
from app.runs.rooms import Memory, Room, rooms_of
from app.runs.turns import Line, Numbered

Json = dict[str, Any]
# So long may others pass by a run that does not fit anywhere now; then a device is kept for it.
PATIENCE = timedelta(minutes=2)
# At most one device in so many is kept at a time, and one at least: small runs flow on.
ONE_IN = 4


@dataclass(frozen=True, slots=True)
class Assignment:
    """This run goes to this device now."""

    run: UUID
    device: str
    reason: Json


@dataclass(frozen=True)
class Plan:
    """What `choose` decided.

    Attributes:
        assignments: What goes where, in the order of turns.
        places: The devices with what was given to them just now.
        line: All that waited, in the order of turns.
        kept: For which run a device is kept, by the device's name.
    """

    assignments: tuple[Assignment, ...]
    places: tuple[Place, ...]
    line: Line
    kept: Mapping[str, UUID]

    @cached_property
    def left(self) -> tuple[Waiting, ...]:
        """What waits on, in the order of turns."""
        return tuple(self._left())

    def front(self, count: int) -> tuple[Waiting, ...]:
        """The first of what waits on; the rest of the line is not even sorted for it."""
        return tuple(islice(self._left(), count))

    def _left(self) -> Iterator[Waiting]:
        placed = {assignment.run for assignment in self.assignments}
        return (run for run in self.line if run.run not in placed)


def choose(
    waiting: Sequence[Waiting],
    places: Sequence[Place],
    usage: Mapping[UUID, float],
    now: datetime,
    rules: Rules | None = None,
    most: int | None = None,
) -> Plan:
    """Place what fits, in the order of turns.

    Args:
        waiting: The queued runs, in any order; quickest when sorted by age.
        places: The devices, with the runs on them.
        usage: Device-seconds of each person, older ones counting less.
        now: The present.
        rules: Lab sessions, slices and limits.
        most: So many at most; the rest is for the next time.
    """
    rules = rules or Rules()
    line = Line(waiting, places, usage, now, rules)
    filling = _Filling(places, Allowance(places, rules), now)
    if filling.is_open:
        for _, run in line.keyed(filling.placeable):
            filling.place(run)
            if len(filling.assignments) == most:
                break
    return Plan(tuple(filling.assignments), filling.filled(), line, filling.kept)


def explain(
    plan: Plan,
    now: datetime,
    rules: Rules | None = None,
    first: int | None = None,
    instead: Json | None = None,
) -> dict[UUID, Explanation]:
    """Place in line, reason and expected start of what waits on.

    Args:
        plan: What was chosen.
        now: The present.
        rules: The same as for `choose`.
        first: Only the first so many of the line; all when None.
        instead: One reason for all, when nothing at all is started.
    """
    left = plan.left if first is None else plan.front(first)
    return explanation.explain(left, plan.places, plan.kept, now, rules or Rules(), instead)


class _Filling:
    """The devices while runs are placed on them, one after another."""

    def __init__(self, places: Sequence[Place], allowance: Allowance, now: datetime) -> None:
        self.assignments: list[Assignment] = []
        self.kept: dict[str, UUID] = {}
        self._places, self._allowance, self._now = places, allowance, now
        self._impatient = now - PATIENCE
        self._given: dict[str, list[Live]] = {}
        self._longest_gap = 0.0
        self._rooms = sorted(rooms_of(places, now), key=Room.rank)
        self._measure()

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    def placeable(self, numbered: Numbered) -> Numbered:
        """Those for whom anything can be done; a glance, since most runs fit nowhere."""
        for turn, run in numbered:
            if run.memory_bytes <= self._reach and self._may_place(run):
                yield turn, run

    def place(self, run: Waiting) -> None:
        # It came up when more was free; asked again, since to look at each device takes longer.
        if not self._may_place(run) or not self._allowance.allows(run):
            return
        room = self._room_for(run)
        if room is not None:
            self._give(run, room)
        elif self._keeps and patient_since(run) <= self._impatient:
            self._keep_a_room(run)

    def filled(self) -> tuple[Place, ...]:
        """The places with what was given to them."""
        return tuple(
            replace(place, runs=(*place.runs, *given))
            if (given := self._given.get(place.name))
            else place
            for place in self._places
        )

    def _may_place(self, run: Waiting) -> bool:
        if run.memory_bytes <= self._most_free_for_long:
            return True
        if self._keeps and run.queued_at <= self._impatient:
            return True
        if run.memory_bytes > self._most_free:
            return False
        return run.seconds is not None and run.seconds[1] <= self._longest_gap

    def _room_for(self, run: Waiting) -> Room | None:
        return next((room for room in self._open if room.fits(run)), None)

    def _give(self, run: Waiting, room: Room) -> None:
        self.assignments.append(Assignment(run.run, room.place.name, _placed(room)))
        self._given.setdefault(room.place.name, []).append(_live(run, self._now))
        self._allowance.count(run)
        room.take(run)
        self._sort_again(room.memory)
        self._measure()

    def _sort_again(self, memory: Memory) -> None:
        """Only the rooms of that memory have another rank now."""
        rooms = [room for room in self._rooms if room.memory is not memory]
        for room in self._rooms:
            if room.memory is memory:
                insort(rooms, room, key=Room.rank)
        self._rooms = rooms

    def _keep_a_room(self, run: Waiting) -> None:
        """Where it can start soonest, nobody passes by who might make it wait longer."""
        able = (
            room
            for room in self._rooms
            if room.memory.kept_seconds is None and run.memory_bytes <= room.memory.total
        )
        soonest = min(able, key=lambda room: room.starts_in(run, 1), default=None)
        if soonest is not None:
            soonest.memory.kept_seconds = soonest.starts_in(run, 0)
            self.kept[soonest.place.name] = run.run
            self._measure()

    def _measure(self) -> None:
        """What is free at most, for how long, and whether a device may still be kept."""
        self._open = [room for room in self._rooms if room.free_slots > 0]
        memories = [room.memory for room in self._open]
        free = [memory.free for memory in memories if memory.kept_seconds is None]
        self._most_free_for_long = self._most_free = max(free, default=-1)
        if self.kept:
            kept = [memory for memory in memories if memory.kept_seconds is not None]
            self._most_free = max((each.free for each in kept), default=self._most_free)
            self._most_free = max(self._most_free, self._most_free_for_long)
            self._longest_gap = max((each.kept_seconds or 0.0 for each in kept), default=0.0)
        self._keeps = len(self.kept) * ONE_IN < len(self._rooms)
        # Larger runs need no second look: one comparison decides for nearly all of them.
        self._reach = math.inf if self._keeps else self._most_free


def _live(run: Waiting, now: datetime) -> Live:
    return Live(
        run.run,
        run.owner,
        run.memory_bytes,
        ends=_ends(run, now),
        classroom=run.classroom,
        since=now,
        queued_at=run.queued_at,
        boosted=run.boosted,
    )


def _ends(run: Waiting, now: datetime) -> tuple[datetime, datetime] | None:
    if run.seconds is None:
        return None
    return now + timedelta(seconds=run.seconds[0]), now + timedelta(seconds=run.seconds[1])


def _placed(room: Room) -> Json:
    return reason_of(
        N_("Placed on {device}: place {place} of {slots}, {free} of memory free."),
        device=room.place.name,
        place=room.place.slots - room.free_slots + 1,
        slots=room.place.slots,
        free=gibibytes(room.memory.free),
    )
