"""What a choice is made of: runs that wait, devices, the runs on them, and the rules.

Ten thousand runs may wait, so a waiting run is a plain tuple.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

Range = tuple[float, float]


class Waiting(NamedTuple):
    """A run in the queue.

    Attributes:
        seconds: How long it is expected to take, as a range, if known.
        boosted: Whether an instructor moved it up.
        back_since: When it came back to the queue, for one that has run before.
    """

    run: UUID
    owner: UUID
    queued_at: datetime
    memory_bytes: int
    seconds: Range | None = None
    classroom: UUID | None = None
    boosted: bool = False
    back_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """A run on a device.

    Attributes:
        ends: When it is expected to end, as a range, if known.
        since: When its present attempt was given to the device.
        is_asked: Whether it was asked already to save and make room.
        queued_at: Its old place in the queue, where it would return to.
        boosted: Whether an instructor moved it up.
    """

    run: UUID
    owner: UUID
    memory_bytes: int
    ends: tuple[datetime, datetime] | None = None
    classroom: UUID | None = None
    since: datetime | None = None
    is_asked: bool = False
    queued_at: datetime | None = None
    boosted: bool = False


class LabSession(NamedTuple):
    """A lab hour of a class: how long a run may stay when another of the class waits."""

    time_slice: timedelta
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """What people decided about turns.

    Attributes:
        sessions: The classes whose lab session goes on now.
        time_slice: After so long a run makes room for others who have waited as long.
        running_per_person: The most runs on devices at a time of one person, by the class
            that the runs count for (None: for no class). A class without a limit is absent.
        running_per_class: The most runs on devices at a time of a class as a whole.
    """

    sessions: Mapping[UUID, LabSession] = field(default_factory=dict)
    time_slice: timedelta = timedelta(minutes=20)
    running_per_person: Mapping[UUID | None, int] = field(default_factory=dict)
    running_per_class: Mapping[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A device and what is on it.

    Attributes:
        pool: Devices of one pool share the memory of their host; None shares with nobody.
        is_open: Whether runs may be given to it now. What is on a closed device still counts.
    """

    name: str
    kind: str
    memory_bytes: int
    slots: int
    runs: tuple[Live, ...] = ()
    pool: str | None = None
    is_open: bool = True


def patient_since(run: Waiting) -> datetime:
    """Since when it waits this time; its place in the queue may be older."""
    return run.back_since or run.queued_at
