"""The statements of the queue, made once for each role: to make one takes longer than to run it.

The parameters are `actor`, and for pages `position`, `skip` and `limit`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Integer, Select, bindparam, case, func, select

from app.access import visible
from app.models import Classroom, Dataset, LanguageModel, Role, Run, RunState, User

Statement = Select[*tuple[Any, ...]]

QUEUED = Run.state == RunState.QUEUED
LIVE = Run.state.in_([RunState.ASSIGNED, RunState.RUNNING])
HELD = Run.state == RunState.HELD
ACTOR = bindparam("actor", type_=Run.owner_id.type)
LIMIT = bindparam("limit", type_=Integer())
OWN = Run.owner_id == ACTOR


@dataclass(frozen=True)
class Asking:
    """Whoever asks: the role is known when a statement is made, the person when it is run."""

    role: Role
    id: BindParameter[Any] = ACTOR


@dataclass(frozen=True)
class Walks:
    """A list in two walks along an index instead of one sort of the whole queue.

    Runs that have no place yet come after the others, as they were made: SQLite would walk all
    that wait by age to find those few in the order of their age.
    """

    placed: Statement
    unplaced: Statement


PRIVATE = (Run.id, Run.name, Run.owner_id, User.name, Run.reason, Run.cancel_requested_at)
PUBLIC = (
    Run.lab, Run.state, Run.classroom_id, Run.position, Run.expected_start, Run.device,
    Run.seconds_low, Run.seconds_high, Run.queued_at, Run.assigned_at, Run.started_at,
    Run.boosted_at, Run.preempt_requested_at, Run.stages, Run.stage, Run.stage_started_at,
    Run.progress_done, Run.progress_total,
)  # fmt: skip
EVERYBODY: Statement = select(*PRIVATE, *PUBLIC).join(User, User.id == Run.owner_id)
LISTED: Statement = (
    select(
        Run.cause, Run.attempt, Run.created_at, Run.finished_at, Run.name, Run.id, Run.owner_id,
        Run.reason, *PUBLIC, User.name.label("owner"),
        LanguageModel.name.label("base_model"), Dataset.name.label("dataset"),
    )
    .join(User, User.id == Run.owner_id)
    .join(LanguageModel, LanguageModel.id == Run.base_model_id)
    .join(Dataset, Dataset.id == Run.dataset_id)
)  # fmt: skip


@cache
def line(role: Role) -> Walks:
    """Everybody's waiting runs."""
    return _walks(_everybody(role).where(QUEUED))


@cache
def own(role: Role) -> Walks:
    """The actor's own waiting runs."""
    return _walks(_everybody(role).where(QUEUED, OWN))


@cache
def live(role: Role) -> Statement:
    """Everybody's runs on devices."""
    return _everybody(role).where(LIVE).order_by(Run.device, Run.assigned_at, Run.id)


@cache
def held(role: Role) -> Statement:
    """The held runs that the actor may see, the newest first."""
    return _newest(_everybody(role).where(HELD, visible(Asking(role))))


@cache
def listed_waiting(role: Role) -> Walks:
    """The waiting runs that the actor may see, with what lists of the API say of a run."""
    return _walks(LISTED.where(QUEUED, visible(Asking(role))))


@cache
def listed_live(role: Role) -> Statement:
    """The runs on devices that the actor may see, likewise."""
    return LISTED.where(LIVE, visible(Asking(role))).order_by(Run.device, Run.assigned_at, Run.id)


@cache
def listed_held(role: Role) -> Statement:
    """The held runs that the actor may see, likewise."""
    return _newest(LISTED.where(HELD, visible(Asking(role))))


WAITING = select(func.count()).select_from(Run).where(QUEUED)
OWN_WAITING = WAITING.where(OWN)
TAKEN = (
    select(Run.device, func.count(), func.sum(Run.memory_bytes)).where(LIVE).group_by(Run.device)
)
_KINDS = (
    select(Run.lab, Run.classroom_id, func.count().label("runs"))
    .where(QUEUED)
    .group_by(Run.lab, Run.classroom_id)
    .subquery()
)
KINDS = select(_KINDS.c.lab, Classroom.name, _KINDS.c.runs).outerjoin(
    Classroom, Classroom.id == _KINDS.c.classroom_id
)


def _everybody(role: Role) -> Statement:
    """Columns of runs, and last whether the actor may know the private ones."""
    return EVERYBODY.add_columns(case((visible(Asking(role)), 1), else_=0))


def _walks(statement: Statement) -> Walks:
    limited = statement.offset(bindparam("skip", type_=Integer())).limit(LIMIT)
    from_place = Run.position >= bindparam("position", type_=Integer())
    return Walks(
        limited.where(from_place).order_by(Run.position, Run.queued_at, Run.id),
        limited.where(Run.position.is_(None)).order_by(Run.id),
    )


def _newest(statement: Statement) -> Statement:
    return statement.order_by(Run.id.desc()).limit(LIMIT)
