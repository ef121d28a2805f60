"""The pages of a class: its board, for those who steer it, and what a student sees of it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.classrooms import queries, sessions
from app.classrooms.queries import Glance, Member
from app.classrooms.use import Standing, own_standing
from app.i18n import gettext
from app.models import Classroom, ClassSession, Run, RunState, User
from app.runs.causes import CAUSES
from app.runs.labs_of import lab_of
from app.runs.limits import DAY
from app.runs.usage import decayed_use, device_seconds_by_person
from labs.contract import Cause

# Who fails so often in a row, and the same way, needs somebody.
STUCK_AFTER = 2
LISTED = 40
HELD_LISTED = 50


@dataclass(frozen=True, slots=True)
class PersonLine:
    """A person of the class: how many runs are in which state, and the newest of them.

    Attributes:
        failed: Runs that failed in the last 24 hours.
        alike: How many of the last runs failed one after the other with the same cause.
        day_seconds: Device-seconds of the last 24 hours.
        used: Device-seconds of which half is forgotten each hour: what the queue goes by.
    """

    member: Member
    waiting: int
    running: int
    held: int
    failed: int
    alike: int
    day_seconds: float
    used: float
    newest: Glance | None

    @property
    def newest_cause(self) -> str:
        return cause_title(self.newest.cause, self.newest.reason) if self.newest else ""

    @property
    def is_stuck(self) -> bool:
        return self.held > 0 or self.alike >= STUCK_AFTER


@dataclass(frozen=True, slots=True)
class RunOfClass:
    """A run of somebody in the class, with what stands beside it."""

    run: Run
    lab: str
    cause: str

    @property
    def is_stopping(self) -> bool:
        return self.run.cancel_requested_at is not None


@dataclass(frozen=True, slots=True)
class BoardPage:
    """A class to steer. Rendered by classrooms/show.html; its block `board` also alone."""

    classroom: Classroom
    sort: str
    lines: Sequence[PersonLine]
    totals: Counter[RunState]
    stuck: int
    day_seconds: float
    held: Sequence[RunOfClass]
    live: Sequence[RunOfClass]
    waiting: Sequence[RunOfClass]
    current: Sequence[ClassSession]
    upcoming: Sequence[ClassSession]
    now: datetime


@dataclass(frozen=True, slots=True)
class StudentPage:
    """What a student sees of their class. Rendered by classrooms/student.html."""

    classroom: Classroom
    standings: Sequence[Standing]
    current: Sequence[ClassSession]
    upcoming: Sequence[ClassSession]


@dataclass(frozen=True, slots=True)
class ClassCard:
    """A class in a list: how many people, and how their runs stand."""

    classroom: Classroom
    students: int
    totals: Counter[RunState]
    is_steered: bool


@dataclass(frozen=True, slots=True)
class ClassesPage:
    """The classes of a person, and an admin's form for a new one. By classrooms/index.html."""

    cards: Sequence[ClassCard]
    name: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RosterPage:
    """Who is in a class, for admins. Rendered by classrooms/people.html."""

    classroom: Classroom
    members: Sequence[Member]
    names: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


# What the board may be sorted by; the first is how it comes.
SORTS: dict[str, Callable[[PersonLine], Any]] = {
    "stuck": lambda line: (-line.held, -line.alike if line.is_stuck else 0, -line.failed),
    "name": lambda line: (),
    "running": lambda line: -line.running,
    "waiting": lambda line: -line.waiting,
    "held": lambda line: -line.held,
    "failed": lambda line: -line.failed,
    "day": lambda line: -line.day_seconds,
    "used": lambda line: -line.used,
    "newest": lambda line: -line.newest.created_at.timestamp() if line.newest else 0.0,
}


def board_page(session: Session, actor: User, classroom: Classroom, sort: str) -> BoardPage:
    now = clock.now()
    lines = person_lines(session, actor, classroom, now)
    sort = sort if sort in SORTS else next(iter(SORTS))

    def runs(*states: RunState, limit: int = LISTED) -> list[RunOfClass]:
        found = queries.in_states(session, actor, classroom.id, *states, limit=limit)
        return [run_of_class(run) for run in found]

    return BoardPage(
        classroom=classroom,
        sort=sort,
        lines=sorted(lines, key=lambda line: (SORTS[sort](line), line.member.name.lower())),
        totals=_totals(lines),
        stuck=sum(line.is_stuck for line in lines),
        day_seconds=sum(line.day_seconds for line in lines),
        held=runs(RunState.HELD, limit=HELD_LISTED),
        live=runs(RunState.ASSIGNED, RunState.RUNNING),
        waiting=runs(RunState.QUEUED),
        current=sessions.current(session, now),
        upcoming=sessions.upcoming(session, now, classroom.id),
        now=now,
    )


def person_lines(
    session: Session, actor: User, classroom: Classroom, now: datetime
) -> list[PersonLine]:
    """A line for each person of the class, in a number of queries that does not depend on it."""
    counts = queries.counts(session, actor, classroom.id, now - DAY)
    newest = queries.newest(session, actor, classroom.id)
    seconds = device_seconds_by_person(session, now - DAY, now)
    used = decayed_use(session, now)
    return [
        PersonLine(
            member=member,
            waiting=counts[member.id][RunState.QUEUED],
            running=counts[member.id][RunState.ASSIGNED] + counts[member.id][RunState.RUNNING],
            held=counts[member.id][RunState.HELD],
            failed=counts[member.id][RunState.FAILED],
            alike=alike(newest.get(member.id, ())),
            day_seconds=seconds.get(member.id, 0.0),
            used=used.get(member.id, 0.0),
            newest=next(iter(newest.get(member.id, ())), None),
        )
        for member in queries.members(session, classroom.id)
    ]


def alike(newest: Sequence[Glance]) -> int:
    """How many of the last runs that came to an end failed in the same way, without a break."""
    ended = [run for run in newest if run.state.is_over and run.state is not RunState.CANCELLED]
    count = 0
    for run in ended:
        if run.state is not RunState.FAILED or run.cause != ended[0].cause:
            break
        count += 1
    return count


def run_of_class(run: Run) -> RunOfClass:
    return RunOfClass(run, gettext(lab_of(run).title), cause_title(run.cause, run.reason))


def cause_title(cause: str | None, reason: Mapping[str, Any] | None) -> str:
    """A stored cause in words, of a held run what it failed of each time; empty without one."""
    if cause == Cause.REPEATED_FAILURE and reason is not None:
        cause = reason["values"].get("cause", cause)
    return gettext(CAUSES[Cause(cause)].title) if cause in set(Cause) else ""


def student_page(session: Session, actor: User, classroom: Classroom) -> StudentPage:
    now = clock.now()
    return StudentPage(
        classroom=classroom,
        standings=own_standing(session, actor, classroom, now),
        current=sessions.current(session, now),
        upcoming=sessions.upcoming(session, now, classroom.id),
    )


def class_cards(session: Session, actor: User, now: datetime) -> list[ClassCard]:
    """The classes of a person, each with how its runs stand where the person may know."""
    totals, sizes = queries.totals(session, actor, now - DAY), queries.sizes(session)
    steered = {each.id for each in queries.taught(session, actor)}
    return [
        ClassCard(each, sizes.get(each.id, 0), totals[each.id], each.id in steered)
        for each in queries.classes_of(session, actor)
    ]


def _totals(lines: Sequence[PersonLine]) -> Counter[RunState]:
    return Counter(
        {
            RunState.QUEUED: sum(line.waiting for line in lines),
            RunState.RUNNING: sum(line.running for line in lines),
            RunState.HELD: sum(line.held for line in lines),
            RunState.FAILED: sum(line.failed for line in lines),
        }
    )
