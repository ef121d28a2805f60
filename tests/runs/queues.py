"""Queues and devices to prove laws on, and a small world in which time goes by."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from app.runs.places import LabSession, Live, Place, Rules, Waiting
from app.runs.preemption import make_room
from app.runs.scheduling import choose
from app.runs.usage import HALF_LIFE

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ADA, BOB, EVE = UUID(int=1), UUID(int=2), UUID(int=3)
MATHS, PHYSICS = UUID(int=11), UUID(int=12)
GIB = 1 << 30

# A loaded machine is no reason to fail.
law = settings(deadline=None)
simulated = settings(deadline=None, max_examples=40)

owners = st.sampled_from([ADA, BOB, EVE])
classes = st.sampled_from([None, MATHS, PHYSICS])
needs = st.integers(0, 10).map(lambda count: count * GIB)
ranges = st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)).map(lambda pair: (min(pair), max(pair)))
moments = st.floats(0, 10_000).map(lambda seconds: NOON - timedelta(seconds=seconds))
usages = st.dictionaries(owners, st.floats(0, 1e6))
rules = st.builds(
    Rules,
    sessions=st.dictionaries(
        st.sampled_from([MATHS, PHYSICS]),
        st.just(LabSession(timedelta(minutes=5), NOON + timedelta(hours=1))),
    ),
    running_per_person=st.dictionaries(classes, st.integers(1, 3)),
    running_per_class=st.dictionaries(st.sampled_from([MATHS, PHYSICS]), st.integers(1, 4)),
)


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    return [
        Waiting(
            UUID(int=100 + n), draw(owners), draw(moments), draw(needs), draw(st.none() | ranges),
            draw(classes), draw(st.booleans()),
        )
        for n in range(draw(st.integers(0, 12)))
    ]  # fmt: skip


@st.composite
def sites(draw: st.DrawFn) -> list[Place]:
    """Up to three devices; two of kind cpu share the memory of their host."""
    places = []
    for number in range(draw(st.integers(0, 3))):
        slots, is_cpu = draw(st.integers(1, 4)), draw(st.booleans())
        live = [
            draw(lives(UUID(int=1000 + number * 10 + n)))
            for n in range(draw(st.integers(0, slots)))
        ]
        name, kind, pool = ("cpu", "cpu", "host") if is_cpu else ("cuda", "cuda", None)
        memory = draw(st.integers(4, 16)) * GIB
        is_open = draw(st.integers(0, 4)) > 0
        places.append(Place(f"{name}:{number}", kind, memory, slots, tuple(live), pool, is_open))
    return places


@st.composite
def lives(draw: st.DrawFn, run: UUID) -> Live:
    since = draw(st.floats(0, 7200).map(lambda seconds: NOON - timedelta(seconds=seconds)))
    low, high = draw(ranges)
    ends = (since + timedelta(seconds=low), since + timedelta(seconds=high))
    waited = timedelta(seconds=draw(st.floats(0, 7200)))
    return Live(
        run, draw(owners), GIB, draw(st.none() | st.just(ends)), draw(classes), since,
        draw(st.booleans()), since - waited, draw(st.booleans()),
    )  # fmt: skip


def run(number: int, owner: UUID = ADA, waited: float = 0, **values: Any) -> Waiting:
    fields: dict[str, Any] = {"memory_bytes": GIB, **values}
    return Waiting(UUID(int=number), owner, NOON - timedelta(seconds=waited), **fields)


def place(name: str = "cuda:0", slots: int = 1, gib: int = 8, *live: Live) -> Place:
    return Place(name, "cpu" if name == "cpu" else "cuda", gib * GIB, slots, live)


def live(number: int, owner: UUID = EVE, worked: float = 3600, **values: Any) -> Live:
    since = NOON - timedelta(seconds=worked)
    fields: dict[str, Any] = {"memory_bytes": GIB, "since": since, "queued_at": since, **values}
    return Live(UUID(int=number), owner, **fields)


@dataclass
class Job:
    """Work that somebody brings at some second; the range is what was estimated for it."""

    run: UUID
    owner: UUID
    at: float
    seconds: float
    memory_bytes: int = GIB
    estimate: tuple[float, float] | None = None
    classroom: UUID | None = None
    left: float = 0.0
    starts: list[float] = field(default_factory=list)
    ended: float | None = None
    back: float | None = None
    asked_at: float | None = None
    device: str = ""


class Box:
    """Devices and people, second by second, driven by the real `choose` and `make_room`."""

    def __init__(
        self,
        jobs: Sequence[Job],
        places: Sequence[Place],
        rules: Rules | None = None,
        saving: float = 5.0,
    ) -> None:
        self.now, self.jobs, self.served = 0.0, list(jobs), defaultdict[UUID, float](float)
        self._places, self._rules, self._saving = places, rules or Rules(), saving
        self._used: dict[UUID, float] = defaultdict(float)
        self.waiting: list[Job] = []
        self.live: list[Job] = []
        for job in self.jobs:
            job.left = job.seconds
        self._coming = sorted(self.jobs, key=lambda job: job.at)

    def work(self, until: float = 1e9, tick: float = 60.0) -> "Box":
        """Let time go by until all is done, or until that second."""
        while (self._coming or self.waiting or self.live) and self.now < until:
            self._pass(min([*self._moments(tick), until]))
            self._arrive()
            self._leave()
            self._decide()
        return self

    def as_waiting(self, job: Job) -> Waiting:
        back = None if job.back is None else self._moment(job.back)
        return Waiting(
            job.run, job.owner, self._moment(job.at), job.memory_bytes, job.estimate,
            job.classroom, False, back,
        )  # fmt: skip

    def places(self) -> list[Place]:
        return [
            replace(place, runs=tuple(self._live(job) for job in self.live if job.device == place.name))
            for place in self._places
        ]  # fmt: skip

    def usage(self) -> dict[UUID, float]:
        return dict(self._used)

    @property
    def moment(self) -> datetime:
        return self._moment(self.now)

    def _moments(self, tick: float) -> Iterable[float]:
        if self.waiting:
            yield self.now + tick
        if self._coming:
            yield max(self.now, self._coming[0].at)
        for job in self.live:
            saved = [job.asked_at + self._saving] if job.asked_at is not None else []
            yield max(self.now, min([self.now + job.left, *saved]))

    def _pass(self, until: float) -> None:
        seconds, self.now = until - self.now, until
        fade = 0.5 ** (timedelta(seconds=seconds) / HALF_LIFE)
        for owner in self._used:
            self._used[owner] *= fade
        for job in self.live:
            job.left -= seconds
            self._used[job.owner] += seconds
            self.served[job.owner] += seconds

    def _arrive(self) -> None:
        while self._coming and self._coming[0].at <= self.now:
            self.waiting.append(self._coming.pop(0))

    def _leave(self) -> None:
        for job in list(self.live):
            if job.left <= 1e-6:
                job.ended = self.now
            elif job.asked_at is not None and self.now >= job.asked_at + self._saving - 1e-6:
                job.asked_at, job.back = None, self.now
                self.waiting.append(job)
            else:
                continue
            self.live.remove(job)

    def _decide(self) -> None:
        queue = [self.as_waiting(job) for job in self.waiting]
        plan = choose(queue, self.places(), self._used, self.moment, self._rules)
        known = {job.run: job for job in self.jobs}
        for chosen in plan.assignments:
            job = known[chosen.run]
            job.device = chosen.device
            job.starts.append(self.now)
            self.waiting.remove(job)
            self.live.append(job)
        for asked in make_room(plan.left, plan.places, self._used, self.moment, self._rules):
            known[asked.run].asked_at = self.now

    def _live(self, job: Job) -> Live:
        since = job.starts[-1]
        ends = None
        if job.estimate is not None:
            ends = (self._moment(since + job.estimate[0]), self._moment(since + job.estimate[1]))
        return Live(
            job.run, job.owner, job.memory_bytes, ends, job.classroom, self._moment(since),
            job.asked_at is not None, self._moment(job.at),
        )  # fmt: skip

    @staticmethod
    def _moment(second: float) -> datetime:
        return NOON + timedelta(seconds=second)
