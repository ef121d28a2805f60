"""An afternoon of a class, made up: who submits what, and when. Everything here is assumed.

No site was measured for these figures. They are in one place so that they can be doubted.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

GIB = 1024**3
START = datetime(2026, 3, 2, 13, tzinfo=UTC)
STUDENTS = 300
# The hours in which a student begins; later runs come at the start of a later hour.
HOURS = 4
# From the start of the hour to a submission: minutes, on average (exponential).
MINUTES_AFTER_THE_HOUR = 6.0
# One student in so many tries a list of parameters at once.
SWEEPERS, SWEEP = 15, 20
MORE_RUNS = (0, 1, 1, 2)  # further runs of everybody else, each as likely
DEVICES, SLOTS, DEVICE_BYTES = 8, 4, 80 * GIB
# How durations of one lab scatter: sigma of the logarithm.
SCATTER = 0.45
# What an estimate knows of a duration: a range around the lab's median.
ESTIMATE = (0.5, 2.0)


@dataclass(frozen=True)
class Kind:
    """A lab: how long its runs take alone on a device, how much memory, how often chosen."""

    name: str
    median_seconds: float
    memory_bytes: int
    share: float


KINDS = (
    Kind("prompt tuning", 150, 6 * GIB, 0.25),
    Kind("lora", 300, 14 * GIB, 0.35),
    Kind("quantization", 200, 22 * GIB, 0.2),
    Kind("dpo", 500, 34 * GIB, 0.15),
    Kind("full fine-tuning", 800, 62 * GIB, 0.05),
)


@dataclass(frozen=True)
class Wish:
    """A run that somebody will submit. `seconds` is what it takes alone on a device."""

    run: UUID
    student: UUID
    kind: Kind
    at: datetime
    seconds: float


def wishes(seed: int) -> list[Wish]:
    """Everything that is submitted in one afternoon, in order of time."""
    dice = random.Random(seed)
    found: list[Wish] = []
    for _ in range(STUDENTS):
        found += _of_student(dice, UUID(int=dice.getrandbits(128)))
    return sorted(found, key=lambda wish: (wish.at, wish.run))


def _of_student(dice: random.Random, student: UUID) -> list[Wish]:
    hour = dice.randrange(HOURS - 1)
    if dice.randrange(SWEEPERS) == 0:
        kind, at = _kind(dice), _soon_after(dice, hour)
        return [_wish(dice, student, kind, at) for _ in range(SWEEP)]
    times = [_soon_after(dice, hour)]
    times += [_soon_after(dice, dice.randrange(hour, HOURS)) for _ in range(dice.choice(MORE_RUNS))]
    return [_wish(dice, student, _kind(dice), at) for at in times]


def _kind(dice: random.Random) -> Kind:
    return dice.choices(KINDS, [kind.share for kind in KINDS])[0]


def _soon_after(dice: random.Random, hour: int) -> datetime:
    minutes = 60 * hour + dice.expovariate(1 / MINUTES_AFTER_THE_HOUR)
    return START + timedelta(minutes=minutes)


def _wish(dice: random.Random, student: UUID, kind: Kind, at: datetime) -> Wish:
    seconds = kind.median_seconds * dice.lognormvariate(0, SCATTER)
    return Wish(UUID(int=dice.getrandbits(128)), student, kind, at, seconds)
