"""When a waiting run may start, as a range: a simulation of the queue. Pure."""

import heapq
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from app.runs.places import Room, Waiting


def expected_starts(
    left: Sequence[Waiting], placed: Sequence[Waiting], rooms: Sequence[Room], now: datetime
) -> dict[UUID, tuple[datetime, datetime]]:
    """Start times if everybody keeps their turn and every run takes its expected time.

    Nothing is said from the first run on whose duration is unknown.
    """
    early = _simulate(left, _free_times(placed, rooms, now, 0), now, 0)
    late = _simulate(left, _free_times(placed, rooms, now, 1), now, 1)
    return {run: (early[run], max(early[run], late[run])) for run in early.keys() & late.keys()}


def _free_times(
    placed: Sequence[Waiting], rooms: Sequence[Room], now: datetime, end: int
) -> list[datetime] | None:
    """When each slot becomes free; None if that cannot be known."""
    times = [now for room in rooms for _ in range(room.free_slots)]
    for room in rooms:
        for live in room.place.runs:
            if live.ends is None:
                return None
            times.append(max(now, live.ends[end]))
    for run in placed:
        if run.seconds is None:
            return None
        times.append(now + timedelta(seconds=run.seconds[end]))
    return times


def _simulate(
    left: Sequence[Waiting], free: list[datetime] | None, now: datetime, end: int
) -> dict[UUID, datetime]:
    if not free:
        return {}
    heapq.heapify(free)
    starts: dict[UUID, datetime] = {}
    for run in left:
        starts[run.run] = max(now, free[0])
        if run.seconds is None:
            break
        heapq.heapreplace(free, starts[run.run] + timedelta(seconds=run.seconds[end]))
    return starts
