"""What a waiting run is told: its place in line, one sentence why, and when it may start. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.i18n import N_
from app.runs.allowance import Allowance
from app.runs.expectation import expected_starts
from app.runs.places import Place, Rules, Waiting
from app.runs.reasons import gibibytes, instant, reason_of
from app.runs.rooms import Room, rooms_of
from app.runs.turns import live_runs

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a run still waits: its place in line, one sentence, and when it may start."""

    position: int
    reason: Json
    expected_start: tuple[datetime, datetime] | None


def explain(
    left: Sequence[Waiting],
    places: Sequence[Place],
    kept: Mapping[str, UUID],
    now: datetime,
    rules: Rules,
    instead: Json | None = None,
) -> dict[UUID, Explanation]:
    """Explain what is left, in the order of turns; `instead` is one reason for all."""
    starts = {} if instead else expected_starts(left, places, now, Allowance(places, rules))
    sentences = _Sentences(places, kept, now, rules)
    return {
        run.run: Explanation(position, instead or sentences.why(run, position), starts.get(run.run))
        for position, run in enumerate(left, start=1)
    }


class _Sentences:
    """Finds the one sentence that helps most; reads the line from its head to its end."""

    def __init__(
        self, places: Sequence[Place], kept: Mapping[str, UUID], now: datetime, rules: Rules
    ) -> None:
        self._rooms = rooms_of(places, now)
        self._is_asked = {
            place.name for place in places if any(live.is_asked for live in place.runs)
        }
        self._kept = [room for room in self._rooms if room.place.name in kept]
        with_slot = (room for room in self._kept if room.free_slots > 0)
        self._most_kept = max((room.memory.free for room in with_slot), default=-1)
        self._rules = rules
        self._allowance = Allowance(places, rules)
        self._before: Counter[UUID] = live_runs(places)
        self._next_told = False
        self._largest = max(
            self._rooms, key=lambda room: (room.memory.total, room.place.name), default=None
        )

    def why(self, run: Waiting, position: int) -> Json:
        reason = self._why_never(run) or self._why_limited(run)
        if reason is None:
            reason = self._why_now_not(run, position)
            self._allowance.count(run)
        self._before[run.owner] += 1
        return reason

    def _why_now_not(self, run: Waiting, position: int) -> Json:
        reason = self._why_kept(run)
        if reason is None:
            reason = self._why_behind(run, position - 1) if self._next_told else self._why_next(run)
            self._next_told = True
        return reason

    def _why_never(self, run: Waiting) -> Json | None:
        if self._largest is None:
            return reason_of(N_("No device is active. The run starts when one is."))
        if run.memory_bytes <= self._largest.memory.total:
            return None
        return reason_of(
            N_("Needs {need} of memory; the largest active device, {device}, has {total}."),
            need=gibibytes(run.memory_bytes),
            device=self._largest.place.name,
            total=gibibytes(self._largest.memory.total),
        )

    def _why_limited(self, run: Waiting) -> Json | None:
        if (most := self._allowance.person_limit(run)) is not None:
            return reason_of(
                N_(
                    "At most {most} of your runs may be on devices at a time, and as many are there or go before this one. It can start when one of them has ended."
                ),
                most=most,
            )
        if (most := self._allowance.class_limit(run)) is not None:
            return reason_of(
                N_(
                    "At most {most} of your class's runs may be on devices at a time, and as many are there or go before this one. It can start when one of them has ended."
                ),
                most=most,
            )
        return None

    def _why_kept(self, run: Waiting) -> Json | None:
        if run.memory_bytes > self._most_kept:
            return None
        for room in self._kept:
            if room.fits(run):
                return reason_of(
                    N_("{device} has room, but it is kept for a larger run that has waited long."),
                    device=room.place.name,
                )
        return None

    def _why_next(self, run: Waiting) -> Json:
        with_slot = [room for room in self._rooms if room.free_slots > 0]
        if not with_slot:
            return self._why_no_slot()
        roomiest = max(with_slot, key=lambda room: (room.memory.free, room.place.name))
        return reason_of(
            N_("Next in line: needs {need} of memory; {device} has {free} free now."),
            need=gibibytes(run.memory_bytes),
            device=roomiest.place.name,
            free=gibibytes(max(0, roomiest.memory.free)),
        )

    def _why_no_slot(self) -> Json:
        for room in self._rooms:
            if room.place.name in self._is_asked:
                return reason_of(
                    N_("Next in line: a run on {device} saves its work to make room."),
                    device=room.place.name,
                )
        nearest = min(self._rooms, key=_used)
        return reason_of(
            N_("Next in line: waits for {device} to finish one of its {count} runs."),
            device=nearest.place.name,
            count=_used(nearest)[0],
        )

    def _why_behind(self, run: Waiting, ahead: int) -> Json:
        going_on = self._rules.sessions
        if going_on and run.classroom not in going_on:
            until = max(session.ends_at for session in going_on.values())
            return reason_of(
                N_("A lab session of another class goes on until {until}. Ahead in line: {ahead}."),
                until=instant(until),
                ahead=ahead,
            )
        if self._before[run.owner]:
            return reason_of(
                N_(
                    "Everybody's first run goes before anybody's second, and this is not the first of its owner. Ahead in line: {ahead}."
                ),
                ahead=ahead,
            )
        return reason_of(N_("Ahead in line: {ahead}."), ahead=ahead)


def _used(room: Room) -> tuple[int, str]:
    return room.place.slots - room.free_slots, room.place.name
