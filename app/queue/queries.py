"""Every SELECT of the queue: columns, never whole rows, and a page at a time.

What an actor may not know of somebody else's run never leaves this module: every row is
made by `_row`, which drops it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidInput
from app.i18n import N_
from app.models import Run, RunState, User
from app.queue import statements
from app.queue.statements import LIVE, PRIVATE, QUEUED, Statement, Walks

CURSOR = re.compile(r"(\d{1,9}|-)\.(\d{1,9})")
UNKNOWN = (None,) * len(PRIVATE)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page of the line begins: a position, and how many at it were given before.

    Positions may be equal for a moment while they are written anew, hence `skip`. None stands
    for the runs that have no position yet; they come last. It names no run: it may be shown.
    """

    position: int | None = 0
    skip: int = 0

    def __str__(self) -> str:
        return f"{'-' if self.position is None else self.position}.{self.skip}"


class Row(NamedTuple):
    """A run of the queue as far as the actor may know it; None for what they may not."""

    is_known: bool
    is_own: bool
    run: UUID | None
    name: str | None
    owner_id: UUID | None
    owner: str | None
    reason: Mapping[str, Any] | None
    asked_to_stop: bool | None
    lab: str
    state: RunState
    classroom: UUID | None
    position: int | None
    expected_start: Mapping[str, str] | None
    device: str | None
    seconds_low: float | None
    seconds_high: float | None
    queued_at: datetime
    assigned_at: datetime | None
    started_at: datetime | None
    boosted_at: datetime | None
    preempt_requested_at: datetime | None
    stages: Sequence[Any]
    stage: str | None
    stage_started_at: datetime | None
    progress_done: float
    progress_total: float


def parse_cursor(text: str | None) -> Cursor:
    """The cursor of a text that we gave; the beginning without one."""
    if not text:
        return Cursor()
    found = CURSOR.fullmatch(text)
    if found is None:
        raise InvalidInput([FieldError("cursor", N_("This cursor is not one of ours."))])
    return Cursor(None if found[1] == "-" else int(found[1]), int(found[2]))


def line(
    session: Session, actor: User, cursor: Cursor, limit: int
) -> tuple[list[Row], Cursor | None]:
    """A page of everybody's waiting runs in the order of their turns, and where it goes on."""
    found, following = _page(session, statements.line(actor.role), actor, cursor, limit)
    return [_row(each, actor) for each in found], following


def listed_waiting(
    session: Session, actor: User, cursor: Cursor, limit: int
) -> tuple[list[Any], Cursor | None]:
    """A page of the waiting runs that the actor may see, and where it goes on."""
    return _page(session, statements.listed_waiting(actor.role), actor, cursor, limit)


def own(session: Session, actor: User, limit: int) -> list[Row]:
    """The actor's own waiting runs, the next first."""
    found, _ = _page(session, statements.own(actor.role), actor, Cursor(), limit)
    return [_row(each, actor) for each in found]


def live(session: Session, actor: User) -> list[Row]:
    """Everybody's runs on devices; never more than the devices have places."""
    return [_row(each, actor) for each in _run(session, statements.live(actor.role), actor)]


def listed_live(session: Session, actor: User) -> Sequence[Any]:
    """The runs on devices that the actor may see."""
    return _run(session, statements.listed_live(actor.role), actor)


def held(session: Session, actor: User, limit: int) -> list[Row]:
    """The held runs that the actor may see, the newest first."""
    found = _run(session, statements.held(actor.role), actor, limit=limit)
    return [_row(each, actor) for each in found]


def listed_held(session: Session, actor: User, limit: int) -> Sequence[Any]:
    """The same, as lists of the API say it."""
    return _run(session, statements.listed_held(actor.role), actor, limit=limit)


def count_waiting(session: Session) -> int:
    """How many runs wait in all."""
    return session.scalar(statements.WAITING) or 0


def count_own(session: Session, actor: User) -> int:
    """How many of the actor's runs wait."""
    return session.scalar(statements.OWN_WAITING, {"actor": actor.id}) or 0


def waiting_by_kind(session: Session) -> Sequence[tuple[str, str | None, int]]:
    """How many wait, by lab and by the name of their class."""
    return [(lab, name, runs) for lab, name, runs in session.execute(statements.KINDS)]


def taken(session: Session) -> Mapping[str | None, tuple[int, int]]:
    """How many places and how many bytes are taken of each device."""
    found = session.execute(statements.TAKEN)
    return {device: (places, int(memory)) for device, places, memory in found}


def ahead_of(
    session: Session, position: int, most: int
) -> Sequence[tuple[UUID, UUID | None, datetime | None]]:
    """Owner, class and boost of the runs before a position, in the order of turns."""
    statement = (
        select(Run.owner_id, Run.classroom_id, Run.boosted_at)
        .where(QUEUED, Run.position < position)
        .order_by(Run.position)
        .limit(most)
    )
    return [(owner, classroom, boosted) for owner, classroom, boosted in session.execute(statement)]


def around(session: Session, run: Run, most: int) -> Sequence[tuple[UUID, UUID, int | None]]:
    """The head of the line, a waiting run and up to so many on each side: id, owner and place.

    A run without a place yet stands at the end.
    """
    columns = select(Run.id, Run.owner_id, Run.position).where(QUEUED)
    places = columns.where(Run.position.is_not(None)).order_by(Run.position, Run.queued_at, Run.id)
    if run.position is None:
        last = columns.where(Run.position.is_not(None)).order_by(Run.position.desc()).limit(most)
        near = [*reversed(session.execute(last).all()), (run.id, run.owner_id, None)]
    else:
        within = Run.position.between(run.position - most, run.position + most)
        near = [*session.execute(places.where(within))]
    head = session.execute(places.limit(1)).all()
    return [*(each for each in head if each not in near), *near]


def owners_of_live(session: Session) -> set[UUID]:
    """Who has a run on a device now."""
    return set(session.scalars(select(Run.owner_id).where(LIVE)))


def _run(session: Session, statement: Statement, actor: User, **values: int) -> Sequence[Any]:
    return session.execute(statement, {"actor": actor.id, **values}).all()


def _row(found: Any, actor: User) -> Row:
    """A row without what the actor may not know."""
    *columns, is_known = found
    private, public = columns[: len(PRIVATE)], columns[len(PRIVATE) :]
    private[-1] = private[-1] is not None
    known = private if is_known else UNKNOWN
    return Row._make([bool(is_known), found.owner_id == actor.id, *known, *public])


def _page(
    session: Session, walks: Walks, actor: User, cursor: Cursor, limit: int
) -> tuple[list[Any], Cursor | None]:
    """Rows from a cursor on."""
    found: list[Any] = []
    if cursor.position is not None:
        start = {"position": cursor.position, "skip": cursor.skip, "limit": limit + 1}
        found += _run(session, walks.placed, actor, **start)
    if len(found) <= limit:
        skip = cursor.skip if cursor.position is None else 0
        found += _run(session, walks.unplaced, actor, skip=skip, limit=limit + 1 - len(found))
    if len(found) <= limit:
        return found, None
    return found[:limit], _following([each.position for each in found], cursor, limit)


def _following(places: Sequence[int | None], cursor: Cursor, limit: int) -> Cursor:
    given = places[:limit].count(places[limit])
    before = cursor.skip if cursor.position == places[limit] else 0
    return Cursor(places[limit], given + before)
