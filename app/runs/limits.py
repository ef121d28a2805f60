"""How much a class and each of its people may take at a time, and in a day."""

from dataclasses import dataclass
from datetime import timedelta

from app.models import Classroom
from app.settings import Settings

# Device-seconds are counted over so long.
DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a person, or the class as a whole, may have; None is no limit.

    Attributes:
        waiting: Runs in the queue.
        running: Runs on devices at a time.
        device_seconds: Seconds on devices over the last `DAY`.
    """

    waiting: int | None = None
    running: int | None = None
    device_seconds: int | None = None


def person_limits(classroom: Classroom | None, settings: Settings) -> Limits:
    """What each person may have in a class; what the class leaves open, the site decides."""
    site = Limits(
        settings.max_waiting_per_person,
        settings.max_running_per_person,
        settings.max_device_seconds_per_person,
    )
    if classroom is None:
        return site
    return Limits(
        _first(classroom.max_waiting_per_person, site.waiting),
        _first(classroom.max_running_per_person, site.running),
        _first(classroom.max_device_seconds_per_person, site.device_seconds),
    )


def class_limits(classroom: Classroom | None) -> Limits:
    """What the people of a class may have together."""
    if classroom is None:
        return Limits()
    return Limits(classroom.max_waiting, classroom.max_running, classroom.max_device_seconds)


def _first(own: int | None, otherwise: int | None) -> int | None:
    return otherwise if own is None else own
