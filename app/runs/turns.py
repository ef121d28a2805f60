"""Whose turn it is. Pure.

The order of the waiting runs, each rule deciding only among those equal by the one before:

1. runs of a class whose lab session goes on;
2. runs that an instructor moved up;
3. everybody's first before anybody's second; runs on devices count;
4. the least debt: decayed device-seconds, less a credit for waiting that grows without bound;
5. who came first.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from operator import attrgetter, lt
from typing import NamedTuple
from uuid import UUID

from app.runs.places import Live, Place, Rules, Waiting

# Ten seconds of waiting weigh as one second of device time used by somebody else.
AGE_WEIGHT = 0.1
# One person's runs, each with how many runs of that person go before it.
Numbered = Iterator[tuple[int, Waiting]]
Sieve = Callable[[Numbered], Numbered]


class Key(NamedTuple):
    """What two runs are compared by; the smaller goes first."""

    without_session: bool
    unboosted: bool
    turn: int
    debt: float
    queued_at: float
    run: UUID


@dataclass(frozen=True, slots=True)
class Terms:
    """What the turn of one waiting run is made of.

    Attributes:
        rank: Its place in line, from 1.
        session: Whether a lab session of its class goes on.
        turn: How many runs of its owner are on devices or before it in line.
        used: Device-seconds of its owner, halved for each hour that has passed since.
        age: Seconds since it was queued.
        age_credit: What that age weighs against use, in device-seconds: `AGE_WEIGHT` times it.
        debt: Use less credit; of two runs with equal turns the one with less goes first.
    """

    run: UUID
    owner: UUID
    rank: int
    session: bool
    boosted: bool
    turn: int
    used: float
    age: float
    age_credit: float
    debt: float
    queued_at: datetime


class Line:
    """The waiting runs in the order of their turns, worked out only as far as it is read.

    Within one person's runs the keys rise, so it is a merge of the people's own lines:
    few heads to compare, and nothing is done for runs whose turn is far away.
    """

    def __init__(
        self,
        waiting: Sequence[Waiting],
        places: Iterable[Place],
        usage: Mapping[UUID, float],
        now: datetime,
        rules: Rules,
    ) -> None:
        self._waiting, self._usage, self._now = waiting, usage, now.timestamp()
        self._sessions = rules.sessions
        self._live = live_runs(places)

    def __iter__(self) -> Iterator[Waiting]:
        return (run for _, run in self.keyed())

    def keyed(self, sieve: Sieve = iter) -> Iterator[tuple[Key, Waiting]]:
        """Each run with its key, in order.

        Args:
            sieve: Lets those of one person's runs through that are wanted; the others are
                passed by, and count for turns all the same.
        """
        lines = (self._keyed(own, sieve) for own in self._own_lines)
        heads = [(*head, rest) for rest in lines if (head := next(rest, None))]
        heapq.heapify(heads)
        while heads:
            key, run, rest = heads[0]
            yield key, run
            if head := next(rest, None):
                heapq.heapreplace(heads, (*head, rest))
            else:
                heapq.heappop(heads)

    def key_on_return(self, live: Live) -> Key:
        """The key that a live run will have when it waits again."""
        queued_at = live.queued_at.timestamp() if live.queued_at else self._now
        return Key(
            live.classroom not in self._sessions,
            not live.boosted,
            self._live[live.owner] - 1,
            self._debt(self._usage.get(live.owner, 0.0), queued_at),
            queued_at,
            live.run,
        )

    @cached_property
    def _own_lines(self) -> list[list[Waiting]]:
        """Each person's runs in the order that holds among them."""
        own: dict[int, list[Waiting]] = defaultdict(list)
        for run in _by_age(self._waiting):
            own[run.owner.int].append(run)  # of a UUID, its int hashes fastest
        if self._sessions or any(map(attrgetter("boosted"), self._waiting)):
            for runs in own.values():
                runs.sort(key=self._rank)
        return list(own.values())

    def _keyed(self, own: Sequence[Waiting], sieve: Sieve) -> Iterator[tuple[Key, Waiting]]:
        owner = own[0].owner
        used = self._usage.get(owner, 0.0)
        for turn, run in sieve(enumerate(own, start=self._live[owner])):
            queued_at = run.queued_at.timestamp()
            debt = self._debt(used, queued_at)
            yield Key(*self._rank(run), turn, debt, queued_at, run.run), run

    def _rank(self, run: Waiting) -> tuple[bool, bool]:
        return run.classroom not in self._sessions, not run.boosted

    def _debt(self, used: float, queued_at: float) -> float:
        return used - AGE_WEIGHT * (self._now - queued_at)


def _by_age(waiting: Sequence[Waiting]) -> Sequence[Waiting]:
    ages = [run.queued_at for run in waiting]
    if all(map(lt, ages, islice(ages, 1, None))):
        return waiting  # as rows come
    return sorted(waiting, key=attrgetter("queued_at", "run"))


def live_runs(places: Iterable[Place]) -> Counter[UUID]:
    """How many runs each person has on devices."""
    return Counter(live.owner for place in places for live in place.runs)


def terms(
    waiting: Sequence[Waiting],
    places: Sequence[Place],
    usage: Mapping[UUID, float],
    now: datetime,
    rules: Rules | None = None,
) -> list[Terms]:
    """Every term of every waiting run, in the order of their turns."""
    line = Line(waiting, places, usage, now, rules or Rules())
    return [
        _terms(rank, key, run, usage.get(run.owner, 0.0), now)
        for rank, (key, run) in enumerate(line.keyed(), start=1)
    ]


def _terms(rank: int, key: Key, run: Waiting, used: float, now: datetime) -> Terms:
    age = (now - run.queued_at).total_seconds()
    return Terms(
        run=run.run,
        owner=run.owner,
        rank=rank,
        session=not key.without_session,
        boosted=run.boosted,
        turn=key.turn,
        used=used,
        age=age,
        age_credit=AGE_WEIGHT * age,
        debt=key.debt,
        queued_at=run.queued_at,
    )
