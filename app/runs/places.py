"""What a choice is made of: runs that wait, devices that take runs, and the runs on them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run in the queue. `seconds` is its expected duration as a range, if known."""

    run: UUID
    owner: UUID
    queued_at: datetime
    memory_bytes: int
    seconds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """A run on a device; `ends` is when it is expected to end, if known."""

    run: UUID
    owner: UUID
    memory_bytes: int
    ends: tuple[datetime, datetime] | None = None


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
