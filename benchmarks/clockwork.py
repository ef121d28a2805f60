"""Devices with a clock of our own, driven by the real `choose` and `make_room`.

Runs that share a device slow each other down; a run that makes room loses the time of saving
and of starting again. How much is assumed, and said here.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from app.runs import scheduling
from app.runs.places import Live, Place, Rules, Waiting
from app.runs.preemption import make_room
from app.runs.usage import HALF_LIFE
from benchmarks.afternoon import DEVICE_BYTES, DEVICES, ESTIMATE, Wish

# Each further run on a device costs every run there so much of its speed. Assumed.
SLOWDOWN = 0.25
# A run that makes room occupies its device so long while it saves. Assumed.
SAVE_SECONDS = 10.0
# And when it starts again, so long until it goes on where it was. Assumed.
RESTART_SECONDS = 20.0
# The housekeeper decides each second; here runs are placed when something happens, and looked
# for to make room so often.
TICK = timedelta(seconds=30)


@dataclass(frozen=True)
class Policy:
    """How turns are given. Plain FIFO is the real `choose` for people who are all strangers."""

    name: str
    is_fifo: bool = False
    slots: int = 4


@dataclass
class Job:
    """A run from its submission to its end."""

    wish: Wish
    left: float
    starts: list[datetime] = field(default_factory=list)
    device: str = ""
    waited: float = 0.0
    waits_since: datetime | None = None
    ended: datetime | None = None
    stops_at: datetime | None = None


@dataclass
class Day:
    """What a simulated afternoon left behind."""

    policy: Policy
    jobs: list[Job]
    busy_seconds: float = 0.0
    preemptions: int = 0
    lost_seconds: float = 0.0
    given_seconds: float = 0.0
    # Device-seconds of each person up to each moment that was asked for.
    received: dict[datetime, dict[UUID, float]] = field(default_factory=dict)


class Clockwork:
    """The simulation of one afternoon under one policy."""

    def __init__(self, policy: Policy, wishes: Sequence[Wish], marks: Sequence[datetime]) -> None:
        self._policy, self._rules = policy, Rules()
        self._coming = [Job(wish, wish.seconds) for wish in wishes]
        self._day = Day(policy, list(self._coming))
        self._marks = sorted(marks)
        self._now = self._looked_at = wishes[0].at
        self._waiting: dict[UUID, Job] = {}
        self._live: dict[UUID, Job] = {}
        self._used: dict[UUID, float] = defaultdict(float)
        self._given: dict[UUID, float] = defaultdict(float)

    def run(self) -> Day:
        """From the first submission to the last end."""
        while self._coming or self._waiting or self._live:
            self._pass(self._next_moment())
            self._arrive()
            self._end()
            self._decide()
        for mark in self._marks:
            self._day.received[mark] = dict(self._given)
        return self._day

    def _next_moment(self) -> datetime:
        moments = [self._now + TICK] if self._waiting and not self._policy.is_fifo else []
        moments += [self._coming[0].wish.at] if self._coming else []
        moments += self._marks[:1]
        speeds = self._speeds()
        for job in self._live.values():
            moments.append(job.stops_at or self._now + _seconds(job.left / speeds[job.device]))
        return max(self._now, min(moments))

    def _speeds(self) -> dict[str, float]:
        on: dict[str, int] = defaultdict(int)
        for job in self._live.values():
            on[job.device] += 1
        return {device: 1 / (1 + SLOWDOWN * (runs - 1)) for device, runs in on.items()}

    def _pass(self, until: datetime) -> None:
        """Let time go by: work is done, use is counted and fades."""
        seconds = (until - self._now).total_seconds()
        speeds = self._speeds()
        fade = 0.5 ** (_seconds(seconds) / HALF_LIFE)
        for owner in self._used:
            self._used[owner] *= fade
        for job in self._live.values():
            if job.stops_at is None:
                job.left -= seconds * speeds[job.device]
            self._used[job.wish.student] += seconds
            self._given[job.wish.student] += seconds
        self._day.busy_seconds += seconds * len(speeds)
        self._day.given_seconds += seconds * len(self._live)
        self._now = until
        while self._marks and self._marks[0] <= until:
            self._day.received[self._marks.pop(0)] = dict(self._given)

    def _arrive(self) -> None:
        while self._coming and self._coming[0].wish.at <= self._now:
            job = self._coming.pop(0)
            job.waits_since = self._now
            self._waiting[job.wish.run] = job

    def _end(self) -> None:
        for run, job in list(self._live.items()):
            if job.stops_at is not None and job.stops_at <= self._now:
                del self._live[run]
                job.stops_at, job.waits_since = None, self._now
                job.left += RESTART_SECONDS
                self._waiting[run] = job
            elif job.stops_at is None and job.left <= 1e-3:
                del self._live[run]
                job.ended = self._now

    def _decide(self) -> None:
        if not self._waiting:
            return
        if len(self._live) < DEVICES * self._policy.slots:
            self._fill()
        if not self._policy.is_fifo and self._now - self._looked_at >= TICK:
            self._looked_at = self._now
            self._make_room()

    def _fill(self) -> None:
        usage = {} if self._policy.is_fifo else self._used
        plan = scheduling.choose(self._line(), self._places(), usage, self._now, self._rules)
        for chosen in plan.assignments:
            self._start(self._waiting.pop(chosen.run), chosen.device)

    def _make_room(self) -> None:
        places = self._places()
        for asked in make_room(self._line(), places, self._used, self._now, self._rules):
            self._stop(self._live[asked.run])

    def _line(self) -> list[Waiting]:
        return [self._as_waiting(job) for job in self._waiting.values()]

    def _start(self, job: Job, device: str) -> None:
        assert job.waits_since is not None
        job.waited += (self._now - job.waits_since).total_seconds()
        job.waits_since = None
        job.device = device
        job.starts.append(self._now)
        self._live[job.wish.run] = job

    def _stop(self, job: Job) -> None:
        if job.stops_at is None:
            job.stops_at = self._now + _seconds(SAVE_SECONDS)
            self._day.preemptions += 1
            self._day.lost_seconds += SAVE_SECONDS + RESTART_SECONDS

    def _as_waiting(self, job: Job) -> Waiting:
        wish = job.wish
        seconds = (wish.kind.median_seconds * ESTIMATE[0], wish.kind.median_seconds * ESTIMATE[1])
        back = job.waits_since if job.starts else None
        owner = self._owner(job)
        return Waiting(wish.run, owner, wish.at, wish.kind.memory_bytes, seconds, back_since=back)

    def _owner(self, job: Job) -> UUID:
        return job.wish.run if self._policy.is_fifo else job.wish.student

    def _places(self) -> list[Place]:
        on: dict[str, list[Live]] = defaultdict(list)
        for job in self._live.values():
            on[job.device].append(self._as_live(job))
        empty = Place("", "cuda", DEVICE_BYTES, self._policy.slots)
        names = [f"cuda:{number}" for number in range(DEVICES)]
        return [replace(empty, name=name, runs=tuple(on[name])) for name in names]

    def _as_live(self, job: Job) -> Live:
        since, median = job.starts[-1], job.wish.kind.median_seconds
        return Live(
            job.wish.run,
            self._owner(job),
            job.wish.kind.memory_bytes,
            ends=(since + _seconds(median * ESTIMATE[0]), since + _seconds(median * ESTIMATE[1])),
            since=since,
            is_asked=job.stops_at is not None,
            queued_at=job.wish.at,
        )


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)
