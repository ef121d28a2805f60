"""How much a person and their class may queue and use, checked where a run is inserted.

Whoever submits first locks the person's row and then the class's (on SQLite the transaction
has the whole database), so that of parallel submissions each counts the ones before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from app import clock
from app.access import classroom_of
from app.errors import Forbidden, TooMany
from app.html import duration, number
from app.i18n import N_
from app.models import Classroom, Run, RunState, User
from app.runs.limits import DAY, Limits, class_limits, person_limits
from app.runs.usage import device_seconds_since
from app.settings import get_settings

# Halving a day so often says to half a minute when enough of it is over.
HALVINGS = 12


@dataclass(frozen=True, slots=True)
class Use:
    """What a person has of what they may have. `seconds` is None where nothing limits them."""

    waiting: int
    waiting_limit: int | None
    seconds: float | None
    seconds_limit: int | None


@dataclass(frozen=True, slots=True)
class _Party:
    """Who a limit is for: a person, or their class as a whole."""

    limits: Limits
    runs: ColumnElement[bool]
    seconds_since: Callable[[datetime], float]
    full: tuple[str, str]
    too_few: str
    used_up: str


def take_turn(session: Session, actor: User) -> Classroom | None:
    """Let this person's submissions, and those of their class, come in one by one.

    Returns:
        The class that their runs count for.

    Raises:
        Forbidden: If the account was disabled since the request came in.
    """
    if _locked(session, select(User.disabled_at).where(User.id == actor.id)) is not None:
        raise Forbidden(N_("This account is disabled."))
    classroom_id = classroom_of(session, actor)
    if classroom_id is None:
        return None
    _locked(session, select(Classroom.id).where(Classroom.id == classroom_id))
    return session.get(Classroom, classroom_id, populate_existing=True)


def check(session: Session, actor: User, classroom: Classroom | None, runs: int = 1) -> None:
    """Refuse so many more runs than the person or the class may have.

    Raises:
        TooMany: With the limit, what is used of it, and when there is room again.
    """
    now = clock.now()
    for party in _parties(session, actor, classroom, now):
        _check_waiting(session, party, runs, now)
        _check_seconds(party, now)


def room(session: Session, actor: User) -> int | None:
    """How many more runs this person may queue now; None where nothing limits them."""
    classroom_id = classroom_of(session, actor)
    classroom = session.get(Classroom, classroom_id) if classroom_id else None
    left = [
        max(0, party.limits.waiting - _count_waiting(session, party.runs))
        for party in _parties(session, actor, classroom, clock.now())
        if party.limits.waiting is not None
    ]
    return min(left, default=None)


def own_use(session: Session, actor: User) -> Use:
    """What a person sees of their own limits beside the button that starts a run."""
    classroom_id = classroom_of(session, actor)
    classroom = session.get(Classroom, classroom_id) if classroom_id else None
    limits = person_limits(classroom, get_settings())
    now = clock.now()
    return Use(
        waiting=_count_waiting(session, Run.owner_id == actor.id),
        waiting_limit=limits.waiting,
        seconds=device_seconds_since(session, now - DAY, owner=actor.id, now=now)
        if limits.device_seconds is not None
        else None,
        seconds_limit=limits.device_seconds,
    )


def _locked(session: Session, row: Select[Any]) -> Any:
    # Not against rows that only point here: signing in and joining a class need not wait.
    return session.scalar(row.with_for_update(key_share=True))


def _parties(
    session: Session, actor: User, classroom: Classroom | None, now: datetime
) -> list[_Party]:
    person = _Party(
        person_limits(classroom, get_settings()),
        Run.owner_id == actor.id,
        lambda since: device_seconds_since(session, since, owner=actor.id, now=now),
        (
            N_("You have {count} of at most {limit} runs waiting. The first of them should start in about {wait}; you may also cancel one."),
            N_("You have {count} of at most {limit} runs waiting. Wait until one has started, or cancel one."),
        ),
        N_("These are {runs} runs, and there is room for {room}: you have {count} of at most {limit} runs waiting. Start fewer of them, or wait until some have started."),
        N_("You have used {used} of the {limit} device-minutes that one person may use in 24 hours. There is room again in about {wait}."),
    )  # fmt: skip
    if classroom is None:
        return [person]
    whole = _Party(
        class_limits(classroom),
        Run.classroom_id == classroom.id,
        lambda since: device_seconds_since(session, since, classroom=classroom.id, now=now),
        (
            N_("Your class has {count} of at most {limit} runs waiting. The first of them should start in about {wait}."),
            N_("Your class has {count} of at most {limit} runs waiting. Try again when one has started."),
        ),
        N_("These are {runs} runs, and there is room for {room}: your class has {count} of at most {limit} runs waiting. Start fewer of them, or wait until some have started."),
        N_("Your class has used {used} of the {limit} device-minutes that it may use in 24 hours. There is room again in about {wait}."),
    )  # fmt: skip
    return [person, whole]


def _check_waiting(session: Session, party: _Party, runs: int, now: datetime) -> None:
    limit = party.limits.waiting
    if limit is None:
        return
    count = _count_waiting(session, party.runs)
    if count + runs <= limit:
        return
    if count < limit:
        room = limit - count
        raise TooMany(party.too_few, runs=runs, room=room, count=count, limit=limit)
    expected, unknown = party.full
    start = _next_start(session, party.runs)
    if start is None or start <= now:
        raise TooMany(unknown, count=count, limit=limit)
    wait = duration((start - now).total_seconds())
    raise TooMany(expected, count=count, limit=limit, wait=wait)


def _check_seconds(party: _Party, now: datetime) -> None:
    limit = party.limits.device_seconds
    if limit is None or (used := party.seconds_since(now - DAY)) < limit:
        return
    raise TooMany(
        party.used_up,
        used=number(used / 60, 1),
        limit=number(limit / 60, 1),
        wait=duration(_until_room(party, limit, now).total_seconds()),
    )


def _until_room(party: _Party, limit: int, now: datetime) -> timedelta:
    """How long until enough of the day's use is more than a day old."""
    low, high = timedelta(0), DAY
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if party.seconds_since(now - DAY + middle) < limit:
            high = middle
        else:
            low = middle
    return high


def _count_waiting(session: Session, whose: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(Run).where(whose, Run.state == RunState.QUEUED)
    return session.scalar(counted) or 0


def _next_start(session: Session, whose: ColumnElement[bool]) -> datetime | None:
    """When the first of these waiting runs is expected to start, at the latest."""
    expected = session.scalars(
        select(Run.expected_start)
        .where(whose, Run.state == RunState.QUEUED, Run.position.is_not(None))
        .order_by(Run.position)
        .limit(1)
    ).first()
    return datetime.fromisoformat(expected["latest"]) if expected else None
