"""Fill the devices: read the state of the world, let `scheduling` choose, write it down, ring."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import broker, clock
from app.database import reading, transaction
from app.i18n import N_
from app.models import Device, Run, RunState
from app.runs import lifecycle, preemption, scheduling, telling
from app.runs.preemption import Preemption
from app.runs.reasons import reason_of
from app.runs.scheduling import Plan
from app.runs.world import World as World
from app.runs.world import disk_is_full
from app.runs.world import read_world as read_world

log = logging.getLogger(__name__)
Json = dict[str, Any]
Bell = tuple[UUID, int, str]
# More than this would keep others from writing for too long; the next turn places the rest.
MOST_AT_ONCE = 64
DISK_FULL = reason_of(
    N_("The disk of this site is nearly full. Runs start again when there is room.")
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now: what starts where, and who is asked to make room."""

    world: World
    plan: Plan
    preemptions: Sequence[Preemption]
    instead: Json | None


def fill_devices() -> int:
    """Give waiting runs to devices that have room; returns how many were given.

    Safe to call from anywhere, at any time, by several processes at once. A busy or absent
    database or broker only delays the runs: the housekeeper calls again every second.
    """
    try:
        decision = _look()
        if decision is None:
            return 0
        bells: list[Bell] = []
        if decision.plan.assignments or decision.preemptions:
            with transaction() as session:
                decision, bells = place_waiting_runs(session, clock.now())
    except SQLAlchemyError:
        log.warning("devices not filled: the database is busy or away", exc_info=True)
        return 0
    ring_all(bells)
    _tell(decision)
    return len(bells)


def _tell(decision: Decision) -> None:
    try:
        telling.tell(decision.plan, clock.now(), decision.world.rules, decision.instead)
    except SQLAlchemyError:
        log.warning("waiting runs not told why: the database is busy or away", exc_info=True)


def ring_all(bells: Sequence[Bell]) -> None:
    """Ring for each; after a missed bell the rest wait for the housekeeper."""
    for run_id, attempt, device in bells:
        if not broker.ring(run_id, attempt, device):
            return


def place_waiting_runs(session: Session, now: datetime) -> tuple[Decision, list[Bell]]:
    """Assign what fits and ask others to make room; returns the bells to ring after the commit."""
    # On Postgres this keeps two dispatchers apart; SQLite has one writer anyway.
    session.execute(select(Device.name).order_by(Device.name).with_for_update())
    decision = decide(read_world(session, now), now)
    bells = _assign(session, decision.plan)
    for asked in decision.preemptions:
        attempt = decision.world.attempts[asked.run]
        lifecycle.ask_to_make_room(session, asked.run, attempt, asked.reason)
    return decision, bells


def decide(world: World, now: datetime) -> Decision:
    """What is to be done in this state of the world; with a full disk, nothing."""
    places, instead = world.places, None
    if disk_is_full():
        places, instead = [replace(place, is_open=False) for place in places], DISK_FULL
    plan = scheduling.choose(
        world.waiting, places, world.usage, now, world.rules, most=MOST_AT_ONCE
    )
    front = plan.front(preemption.FRONT)
    asked = preemption.make_room(front, plan.places, world.usage, now, world.rules)
    return Decision(world, plan, asked, instead)


def _look() -> Decision | None:
    """The decision without any lock, since mostly there is nothing to write; None if nobody waits."""
    with reading() as session:
        waits = select(Run.id).where(Run.state == RunState.QUEUED).limit(1)
        if session.scalar(waits) is None:
            return None
        now = clock.now()
        return decide(read_world(session, now), now)


def _assign(session: Session, plan: Plan) -> list[Bell]:
    bells = []
    for chosen in plan.assignments:
        try:
            attempt = lifecycle.assign(session, chosen.run, chosen.device, chosen.reason)
        except lifecycle.IllegalTransition:
            continue  # cancelled since it was read, which only Postgres allows
        bells.append((chosen.run, attempt, chosen.device))
    return bells
