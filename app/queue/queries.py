"""Every SELECT of the queue: columns, never whole rows, and a page at a time.

What an actor may not know of somebody else's run never leaves this module: every row is
made by `_row`, which drops it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session, defer, joinedload

from app.access import visible
from app.errors import FieldError, InvalidInput
from app.i18n import N_
from app.models import Classroom, Run, RunState, User

CURSOR = re.compile(r"(\d{1,9}|-)\.(\d{1,9})")


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


@dataclass(frozen=True, slots=True)
class Row:
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
    memory_bytes: int
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
    statement = _rows(actor).where(Run.state == RunState.QUEUED)
    found, following = _page(session, statement, cursor, limit)
    return [_row(each) for each in found], following


def waiting(
    session: Session, actor: User, cursor: Cursor, limit: int
) -> tuple[list[Run], Cursor | None]:
    """A page of the waiting runs that the actor may see, and where it goes on."""
    inputs = (joinedload(Run.owner), joinedload(Run.base_model), joinedload(Run.dataset))
    # A list shows none of these, and reading them costs more than all the rest.
    large = (Run.params, Run.estimate, Run.environment, Run.stages)
    without = [defer(column, raiseload=True) for column in large]
    mine = select(Run).where(Run.state == RunState.QUEUED, visible(actor))
    statement = mine.options(*inputs, *without)
    found, following = _page(session, statement, cursor, limit)
    return [run for (run,) in found], following


def own(session: Session, actor: User, limit: int) -> list[Row]:
    """The actor's own waiting runs, the next first."""
    mine = _rows(actor).where(Run.state == RunState.QUEUED, Run.owner_id == actor.id)
    return [_row(each) for each in _page(session, mine, Cursor(), limit)[0]]


def live(session: Session, actor: User) -> list[Row]:
    """Everybody's runs on devices; never more than the devices have places."""
    states = [RunState.ASSIGNED, RunState.RUNNING]
    order = (Run.device, Run.assigned_at, Run.id)
    found = session.execute(_rows(actor).where(Run.state.in_(states)).order_by(*order))
    return [_row(each) for each in found]


def held(session: Session, actor: User, limit: int) -> list[Row]:
    """The held runs that the actor may see, the newest first."""
    statement = _rows(actor).where(Run.state == RunState.HELD, visible(actor))
    return [_row(each) for each in session.execute(statement.order_by(Run.id.desc()).limit(limit))]


def count(session: Session, *conditions: ColumnElement[bool]) -> int:
    """How many runs are so."""
    return session.scalar(select(func.count()).select_from(Run).where(*conditions)) or 0


def waiting_by_kind(session: Session) -> Sequence[tuple[str, str | None, int]]:
    """How many wait, by lab and by the name of their class."""
    counted = (
        select(Run.lab, Run.classroom_id, func.count().label("runs"))
        .where(Run.state == RunState.QUEUED)
        .group_by(Run.lab, Run.classroom_id)
        .subquery()
    )
    named = select(counted.c.lab, Classroom.name, counted.c.runs).outerjoin(
        Classroom, Classroom.id == counted.c.classroom_id
    )
    return [(lab, name, runs) for lab, name, runs in session.execute(named)]


def ahead_of(
    session: Session, position: int, most: int
) -> Sequence[tuple[UUID, UUID | None, datetime | None]]:
    """Owner, class and boost of the runs before a position, in the order of turns."""
    statement = (
        select(Run.owner_id, Run.classroom_id, Run.boosted_at)
        .where(Run.state == RunState.QUEUED, Run.position < position)
        .order_by(Run.position)
        .limit(most)
    )
    return [(owner, classroom, boosted) for owner, classroom, boosted in session.execute(statement)]


def owners_of_live(session: Session) -> set[UUID]:
    """Who has a run on a device now."""
    states = [RunState.ASSIGNED, RunState.RUNNING]
    return set(session.scalars(select(Run.owner_id).where(Run.state.in_(states))))


# In the order of the fields of `Row`, after the first two. Building expressions for each
# request, such as a CASE around each private column, cost more than running the query.
PRIVATE = (Run.id, Run.name, Run.owner_id, User.name, Run.reason, Run.cancel_requested_at)
PUBLIC = (
    Run.lab, Run.state, Run.classroom_id, Run.position, Run.expected_start, Run.device,
    Run.memory_bytes, Run.seconds_low, Run.seconds_high, Run.queued_at, Run.assigned_at,
    Run.started_at, Run.boosted_at, Run.preempt_requested_at, Run.stages,
    Run.stage, Run.stage_started_at, Run.progress_done, Run.progress_total,
)  # fmt: skip
UNKNOWN = (None,) * len(PRIVATE)
ROWS = select(*PRIVATE, *PUBLIC).join(User, User.id == Run.owner_id)


def _rows(actor: User) -> Select[Any]:
    own = Run.owner_id == actor.id
    return ROWS.add_columns(case((visible(actor), 1), else_=0), case((own, 1), else_=0))


def _row(found: Any) -> Row:
    """A row without what the actor may not know."""
    is_known, is_own = bool(found[-2]), bool(found[-1])
    private = (*found[: len(PRIVATE) - 1], found[len(PRIVATE) - 1] is not None)
    return Row(is_known, is_own, *(private if is_known else UNKNOWN), *found[len(PRIVATE) : -2])


def _page(
    session: Session, statement: Select[Any], cursor: Cursor, limit: int
) -> tuple[list[Any], Cursor | None]:
    """Rows from a cursor on; two walks along an index instead of one sort of the whole queue."""
    found: list[Any] = []
    if cursor.position is not None:
        placed = statement.where(Run.position >= cursor.position)
        order = (Run.position, Run.queued_at, Run.id)
        found += session.execute(placed.order_by(*order).offset(cursor.skip).limit(limit + 1))
    if len(found) <= limit:
        skip = cursor.skip if cursor.position is None else 0
        unplaced = statement.where(Run.position.is_(None)).order_by(Run.queued_at, Run.id)
        found += session.execute(unplaced.offset(skip).limit(limit + 1 - len(found)))
    if len(found) <= limit:
        return found, None
    return found[:limit], _following(found, cursor, limit)


def _following(found: Sequence[Any], cursor: Cursor, limit: int) -> Cursor:
    places = [_position(each) for each in found]
    given = places[:limit].count(places[limit])
    before = cursor.skip if cursor.position == places[limit] else 0
    return Cursor(places[limit], given + before)


def _position(found: Any) -> int | None:
    position: int | None = found[0].position if isinstance(found[0], Run) else found.position
    return position
