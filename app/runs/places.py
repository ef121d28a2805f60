"""What a choice is made of: runs that wait, devices that take runs, and the runs on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run in the queue. `seconds` is its expected duration as a range, if known."""

    run: UUID
    owner: UUID
    queued_at: datetime
    memory_bytes: int
    seconds: tuple[float, float] | None = None
    classroom: UUID | None = None
    boosted: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """A run on a device.

    Attributes:
        ends: When it is expected to end, as a range, if known.
        since: When its present attempt was given to the device.
        is_asked: Whether it was asked already to save and make room.
    """

    run: UUID
    owner: UUID
    memory_bytes: int
    ends: tuple[datetime, datetime] | None = None
    classroom: UUID | None = None
    since: datetime | None = None
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What people decided about turns.

    Attributes:
        sessions: The classes whose lab session goes on now, each with its time slice.
        time_slice: After so long a run makes room for others who have waited as long.
        running_per_person: The most runs on devices at a time of each person with a limit.
        running_per_class: The same of each class with a limit.
    """

    sessions: Mapping[UUID, timedelta] = field(default_factory=dict)
    time_slice: timedelta = timedelta(minutes=20)
    running_per_person: Mapping[UUID, int] = field(default_factory=dict)
    running_per_class: Mapping[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A device that takes runs, and what is on it."""

    name: str
    kind: str
    memory_bytes: int
    slots: int
    runs: tuple[Live, ...] = ()


@dataclass(slots=True)
class Room:
    """A place while it is being filled."""

    place: Place
    used_slots: int
    used_bytes: int
    kept_for: UUID | None = None

    @property
    def free_slots(self) -> int:
        return self.place.slots - self.used_slots

    @property
    def free_bytes(self) -> int:
        return self.place.memory_bytes - self.used_bytes

    def fits(self, run: Waiting) -> bool:
        kept = self.kept_for is not None and self.kept_for != run.run
        return not kept and self.free_slots > 0 and run.memory_bytes <= self.free_bytes

    def could_ever_fit(self, run: Waiting) -> bool:
        return run.memory_bytes <= self.place.memory_bytes

    def take(self, run: Waiting) -> None:
        self.used_slots += 1
        self.used_bytes += run.memory_bytes


def room_of(place: Place) -> Room:
    """The place as it is now."""
    return Room(place, len(place.runs), sum(run.memory_bytes for run in place.runs))
