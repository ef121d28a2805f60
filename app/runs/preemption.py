"""Which runs are asked to save a checkpoint and make room for others. Pure.

A run stays for a time slice at least, and goes only for a run of another person whose turn
comes before its own, has waited as long, and fits once it is gone. As it keeps its age and
pays for its use, it cannot come back before the one it went for: nothing goes to and fro.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from app.i18n import N_
from app.runs.allowance import Allowance
from app.runs.places import Live, Place, Rules, Waiting, patient_since
from app.runs.reasons import instant, reason_of
from app.runs.rooms import Room, rooms_of
from app.runs.turns import Key, Line

Json = dict[str, Any]
# A run that others must leave at once for a lab session has worked at least so long.
LEAST_WORK = timedelta(seconds=30)
# A run that ends within this is let alone.
ABOUT_TO_END = timedelta(minutes=1)
# So many at the head of the line may have others asked at a time.
FRONT = 200


@dataclass(frozen=True, slots=True)
class Preemption:
    """This run is asked to make room for that one."""

    run: UUID
    for_run: UUID
    reason: Json


class _Victim(NamedTuple):
    """A live run that may be asked, by where in line it would stand again."""

    key: Key
    live: Live


def make_room(
    left: Sequence[Waiting],
    places: Sequence[Place],
    usage: Mapping[UUID, float],
    now: datetime,
    rules: Rules | None = None,
) -> tuple[Preemption, ...]:
    """Whom to ask, so that the first in line who have waited long can start.

    Args:
        left: What waits on after `choose`, in the order of turns.
        places: The devices with what was given to them just now (`plan.places`).
        usage: Device-seconds of each person, older ones counting less.
        now: The present.
        rules: Lab sessions, slices and limits.
    """
    rules = rules or Rules()
    line = Line(left, places, usage, now, rules)
    asking = _Asking(places, line, now, rules)
    if not asking.anybody:
        return ()
    able = ((key, run) for key, run in line.keyed() if asking.allowance.allows(run))
    for key, run in islice(able, FRONT):
        if not asking.anybody_after(key):
            break
        asking.ask_for(key, run)
    return tuple(asking.asked)


class _Asking:
    """The devices as they will be once everybody who was asked has gone."""

    def __init__(self, places: Sequence[Place], line: Line, now: datetime, rules: Rules) -> None:
        self.asked: list[Preemption] = []
        self.allowance = Allowance(places, rules)
        self._now, self._rules = now, rules
        self._rooms = rooms_of(places, now)
        self._least = LEAST_WORK if rules.sessions else rules.time_slice
        self._victims = {room.place.name: self._on(room, line) for room in self._rooms}
        for room in self._rooms:
            for live in room.place.runs:
                if live.is_asked:
                    _leave(room, live)

    @property
    def anybody(self) -> bool:
        """Whether there is any run that may be asked at all."""
        return any(self._victims.values())

    def anybody_after(self, key: Key) -> bool:
        """Whether any run that may be asked comes later in line than this."""
        return any(victims and victims[-1].key > key for victims in self._victims.values())

    def ask_for(self, key: Key, run: Waiting) -> None:
        """Reserve what will be free anyway; else ask the fewest who stand latest in line."""
        will_fit = next((room for room in self._rooms if room.fits(run)), None)
        if will_fit is not None:
            self._reserve(will_fit, run)
            return
        options = [
            (leaving, room)
            for room in self._rooms
            if (leaving := self._enough(room, key, run)) is not None
        ]
        if options:
            leaving, room = min(options, key=lambda option: _pain(*option))
            self._ask(room, leaving, run)

    def _ask(self, room: Room, leaving: Sequence[_Victim], run: Waiting) -> None:
        for victim in leaving:
            self.asked.append(Preemption(victim.live.run, run.run, self._reason(run)))
            self._victims[room.place.name].remove(victim)
            _leave(room, victim.live)
        self._reserve(room, run)

    def _reserve(self, room: Room, run: Waiting) -> None:
        room.take(run)
        self.allowance.count(run)

    def _on(self, room: Room, line: Line) -> list[_Victim]:
        """Those on a device who may be asked at all, the last in line at the end."""
        return sorted(
            _Victim(line.key_on_return(live), live)
            for live in room.place.runs
            if live.since is not None
            and self._now - live.since >= self._least
            and not live.is_asked
            and not self._ends_soon(live)
        )

    def _enough(self, room: Room, key: Key, run: Waiting) -> list[_Victim] | None:
        """The fewest on this device, latest in line first, without whom the run fits."""
        free, slots = room.memory.free, room.free_slots
        leaving = []
        for victim in reversed(self._victims[room.place.name]):
            if free >= run.memory_bytes and slots > 0:
                break
            if victim.key > key and self._may_ask(victim.live, run):
                free, slots = free + victim.live.memory_bytes, slots + 1
                leaving.append(victim)
        if free < run.memory_bytes or slots <= 0:
            return None
        return _needed(leaving, free - run.memory_bytes, slots)

    def _may_ask(self, live: Live, run: Waiting) -> bool:
        if live.owner == run.owner or live.since is None:
            return False
        session = self._rules.sessions.get(run.classroom) if run.classroom else None
        worked, waited = self._now - live.since, self._now - patient_since(run)
        if session is not None and live.classroom not in self._rules.sessions:
            return worked >= LEAST_WORK
        time_slice = session.time_slice if session else self._rules.time_slice
        return worked >= time_slice and waited >= time_slice

    def _ends_soon(self, live: Live) -> bool:
        return live.ends is not None and self._now <= live.ends[1] <= self._now + ABOUT_TO_END

    def _reason(self, run: Waiting) -> Json:
        session = self._rules.sessions.get(run.classroom) if run.classroom else None
        if session is not None:
            return reason_of(
                N_("Saves its work to make room for a lab session, which goes on until {until}."),
                until=instant(session.ends_at),
            )
        return reason_of(
            N_("Saves its work to make room for somebody who has waited for {minutes} minutes."),
            minutes=int((self._now - patient_since(run)).total_seconds() // 60),
        )


def _needed(leaving: Sequence[_Victim], spare: int, slots: int) -> list[_Victim]:
    """Let those stay whose place is not needed after all, the first in line before others."""
    found = []
    for victim in reversed(leaving):
        if victim.live.memory_bytes <= spare and slots > 1:
            spare, slots = spare - victim.live.memory_bytes, slots - 1
        else:
            found.append(victim)
    return found


def _pain(leaving: Sequence[_Victim], room: Room) -> tuple[int, float, str]:
    """The fewest runs, then those that have used the devices most, decide."""
    return len(leaving), -sum(victim.key.debt for victim in leaving), room.place.name


def _leave(room: Room, live: Live) -> None:
    room.free_slots += 1
    room.memory.free += live.memory_bytes
