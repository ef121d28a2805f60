"""How the turn of one run was worked out: every term of it and of the runs around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.access import visible
from app.models import Run, User
from app.runs.turns import AGE_WEIGHT, Terms, terms
from app.runs.usage import HALF_LIFE
from app.runs.world import read_world

# So many of the runs before and after are shown with their terms.
AROUND = 6


@dataclass(frozen=True, slots=True)
class TurnLine:
    """The terms of one waiting run; its name only where it may be known."""

    terms: Terms
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
    world = read_world(session, now)
    found = terms(world.waiting, world.places, world.usage, now, world.rules)
    around = near(found, run.id)
    known = _names(session, actor, [each.run for each in around])
    lines = [_line(each, run, actor, known.get(each.run)) for each in around]
    return TurnPage(run, lines, len(found), now, AGE_WEIGHT, HALF_LIFE.total_seconds())


def near(found: Sequence[Terms], run: UUID) -> list[Terms]:
    """The head of the line, and the runs around this one."""
    at = next((number for number, each in enumerate(found) if each.run == run), None)
    if at is None:
        return []
    return (
        [found[0], *found[max(1, at - AROUND) : at + AROUND + 1]]
        if at
        else list(found[: AROUND + 1])
    )


def _line(each: Terms, run: Run, actor: User, known: tuple[str, str] | None) -> TurnLine:
    name, owner = known or (None, None)
    return TurnLine(each, each.run == run.id, each.owner == actor.id, name, owner)


def _names(session: Session, actor: User, runs: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
    """Name and owner of those among these runs that the actor may see."""
    rows = session.execute(
        select(Run.id, Run.name, User.name)
        .join(User, User.id == Run.owner_id)
        .where(Run.id.in_(runs), visible(actor))
    )
    return {run: (name, owner) for run, name, owner in rows}
