"""Who goes next, and why. Pure: everything it needs is an argument, its effect is a value.

Order: everybody's first run before anybody's second; then whoever has used the devices
least lately, where waiting counts more and more; then age. A run is placed where it fits.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.i18n import N_
from app.runs.expectation import expected_starts
from app.runs.places import Place, Room, Waiting, room_of
from app.runs.reasons import gibibytes, reason_of

Json = dict[str, Any]
# Ten seconds of waiting weigh as one second of device time used by somebody else.
AGE_WEIGHT = 0.1
# So long may others pass by a run that does not fit anywhere now; then a device is kept for it.
PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Assignment:
    """This run goes to this device now."""

    run: UUID
    device: str
    reason: Json


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a run still waits: its place in line, one sentence, and when it may start."""

    position: int
    reason: Json
    expected_start: tuple[datetime, datetime] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What `choose` decided for every waiting run."""

    assignments: tuple[Assignment, ...] = ()
    explanations: dict[UUID, Explanation] = field(default_factory=dict)


def choose(
    waiting: Sequence[Waiting],
    places: Sequence[Place],
    usage: Mapping[UUID, float],
    now: datetime,
) -> Plan:
    """Place what fits, in the order of turns, and explain the rest.

    Args:
        waiting: The queued runs, in any order.
        places: The devices that take runs now, with the runs on them.
        usage: Device-seconds of each person, older ones counting less.
        now: The present.
    """
    rooms = [room_of(place) for place in places]
    assignments, left = [], []
    for run in in_order(waiting, places, usage, now):
        room = _best_room(rooms, run)
        if room is None:
            left.append(run)
            _keep_a_room(rooms, run, now)
            continue
        assignments.append(Assignment(run.run, room.place.name, _placed(room)))
        room.take(run)
    return Plan(tuple(assignments), _explain(left, assignments, waiting, rooms, now))


def in_order(
    waiting: Sequence[Waiting],
    places: Sequence[Place],
    usage: Mapping[UUID, float],
    now: datetime,
) -> list[Waiting]:
    """The waiting runs in the order of their turns."""
    turns = Counter(run.owner for place in places for run in place.runs)
    ranked = []
    for run in sorted(waiting, key=lambda run: (run.queued_at, run.run)):
        age = (now - run.queued_at).total_seconds()
        debt = usage.get(run.owner, 0.0) - AGE_WEIGHT * age
        ranked.append((turns[run.owner], debt, run.queued_at, run.run, run))
        turns[run.owner] += 1
    return [run for *_, run in sorted(ranked, key=lambda entry: entry[:4])]


def _best_room(rooms: Iterable[Room], run: Waiting) -> Room | None:
    """A GPU before the CPU, then the emptiest, then the one with most memory free."""
    fitting = [room for room in rooms if room.fits(run)]
    return min(
        fitting,
        key=lambda room: (
            room.place.kind == "cpu",
            room.used_slots / room.place.slots,
            -room.free_bytes,
            room.place.name,
        ),
        default=None,
    )


def _keep_a_room(rooms: Iterable[Room], run: Waiting, now: datetime) -> None:
    """Nobody passes by a run that has waited long enough for more memory."""
    if now - run.queued_at < PATIENCE:
        return
    candidates = [r for r in rooms if r.kept_for is None and r.could_ever_fit(run)]
    nearest = max(candidates, key=lambda r: (r.free_bytes, r.place.name), default=None)
    if nearest is not None:
        nearest.kept_for = run.run


def _placed(room: Room) -> Json:
    return reason_of(
        N_("Placed on {device}: place {place} of {slots}, {free} of memory free."),
        device=room.place.name,
        place=room.used_slots + 1,
        slots=room.place.slots,
        free=gibibytes(room.free_bytes),
    )


def _explain(
    left: Sequence[Waiting],
    assignments: Sequence[Assignment],
    waiting: Sequence[Waiting],
    rooms: Sequence[Room],
    now: datetime,
) -> dict[UUID, Explanation]:
    placed = {assignment.run for assignment in assignments}
    busy = Counter(run.owner for run in waiting if run.run in placed)
    busy.update(live.owner for room in rooms for live in room.place.runs)
    starts = expected_starts(left, [run for run in waiting if run.run in placed], rooms, now)
    found = {}
    for position, run in enumerate(left, start=1):
        reason = _why(run, position, rooms, busy[run.owner] > 0)
        found[run.run] = Explanation(position, reason, starts.get(run.run))
        busy[run.owner] += 1
    return found


def _why(run: Waiting, position: int, rooms: Sequence[Room], has_others: bool) -> Json:
    if not rooms:
        return reason_of(N_("No device is active. The run starts when one is."))
    largest = max(rooms, key=lambda room: room.place.memory_bytes)
    if not largest.could_ever_fit(run):
        return reason_of(
            N_("Needs {need} of memory; the largest active device, {device}, has {total}."),
            need=gibibytes(run.memory_bytes),
            device=largest.place.name,
            total=gibibytes(largest.place.memory_bytes),
        )
    if position == 1:
        return _why_next(run, rooms)
    if has_others:
        told = N_(
            "Everybody's first run goes before anybody's second, and you have another. Ahead in line: {ahead}."
        )
        return reason_of(told, ahead=position - 1)
    return reason_of(N_("Ahead in line: {ahead}."), ahead=position - 1)


def _why_next(run: Waiting, rooms: Sequence[Room]) -> Json:
    open_rooms = [room for room in rooms if room.free_slots > 0]
    if not open_rooms:
        nearest = min(rooms, key=lambda room: (room.used_slots, room.place.name))
        return reason_of(
            N_("Next in line: waits for {device} to finish one of its {count} runs."),
            device=nearest.place.name,
            count=nearest.used_slots,
        )
    roomiest = max(open_rooms, key=lambda room: (room.free_bytes, room.place.name))
    return reason_of(
        N_("Next in line: needs {need} of memory; {device} has {free} free now."),
        need=gibibytes(run.memory_bytes),
        device=roomiest.place.name,
        free=gibibytes(max(0, roomiest.free_bytes)),
    )
