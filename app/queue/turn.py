"""How the turn of one run was worked out: every term of it and of the runs around it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.access import visible
from app.models import Run, RunState, User
from app.queue import queries
from app.runs.turns import AGE_WEIGHT, Terms, terms
from app.runs.usage import HALF_LIFE
from app.runs.world import read_world

# So many of the runs before and after are shown with their terms.
AROUND = 6


@dataclass(frozen=True, slots=True)
class TurnLine:
    """The terms of one waiting run and its place, if it has one yet; its name only where it may
    be known. The place was written a moment ago, the terms are worked out now."""

    terms: Terms
    place: int | None
    is_this: bool
    is_own: bool
    name: str | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class TurnPage:
    """The terms of a run's turn. Rendered by queue/turn.html; its block `terms` also alone."""

    run: Run
    lines: Sequence[TurnLine]
    waiting_total: int
    now: datetime
    age_weight: float
    half_life_seconds: float


def turn_page(session: Session, actor: User, run: Run) -> TurnPage:
    """The terms of this run and of its neighbours; no line when it does not wait any more."""
    now = clock.now()
    around = queries.around(session, run, AROUND) if run.state is RunState.QUEUED else []
    found = terms_of(session, {owner for _, owner, _ in around}, now)
    known = _names(session, actor, [key for key, _, _ in around])
    lines = [
        _line(found[key], place, run, actor, known.get(key))
        for key, _, place in around
        if key in found
    ]
    total = queries.count_waiting(session)
    return TurnPage(run, lines, total, now, AGE_WEIGHT, HALF_LIFE.total_seconds())


def terms_of(session: Session, owners: Collection[UUID], now: datetime) -> Mapping[UUID, Terms]:
    """The terms of all waiting runs of these people; a turn depends on its owner's runs alone."""
    world = read_world(session, now, owners)
    found = terms(world.waiting, world.places, world.usage, now, world.rules)
    return {each.run: each for each in found}


def _line(
    each: Terms, place: int | None, run: Run, actor: User, known: tuple[str, str] | None
) -> TurnLine:
    name, owner = known or (None, None)
    return TurnLine(each, place, each.run == run.id, each.owner == actor.id, name, owner)


def _names(session: Session, actor: User, runs: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
    """Name and owner of those among these runs that the actor may see."""
    rows = session.execute(
        select(Run.id, Run.name, User.name)
        .join(User, User.id == Run.owner_id)
        .where(Run.id.in_(runs), visible(actor))
    )
    return {run: (name, owner) for run, name, owner in rows}
