"""What a choice of turns is made of, read from the database: columns only, no locks."""

import shutil
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from app.devices.queries import takes_runs
from app.models import Attempt, Classroom, ClassSession, Device, Run, RunState
from app.runs import measured
from app.runs.limits import class_limits, person_limits
from app.runs.measured import Progress
from app.runs.places import LabSession, Live, Place, Range, Rules, Waiting
from app.runs.usage import decayed_use
from app.settings import get_settings

T = TypeVar("T")
LiveRow = Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class World:
    """The runs that wait, by age; the devices and what is on them; use; and the rules.

    Attributes:
        attempts: The number of the present attempt of each live run.
    """

    waiting: Sequence[Waiting]
    places: Sequence[Place]
    usage: Mapping[UUID, float]
    rules: Rules
    attempts: Mapping[UUID, int]


def read_world(session: Session, now: datetime, owners: Collection[UUID] | None = None) -> World:
    """Everything that `turns`, `scheduling` and `preemption` decide upon.

    With `owners`, only their runs wait in it: enough for the terms of these, not for a choice.
    """
    live = session.execute(_LIVE).all()
    return World(
        read_waiting(session, owners),
        _places(session, live, now),
        decayed_use(session, now),
        read_rules(session, now),
        {row.id: row.attempt for row in live},
    )


def read_waiting(session: Session, owners: Collection[UUID] | None = None) -> Sequence[Waiting]:
    """Every run in the queue, the oldest first; or those of some people, as they come."""
    earlier = _earlier_attempts(session)
    waiting = []
    # Past the ORM, which has nothing to add to ten thousand plain rows each second.
    wanted = _WAITING
    if owners is not None:
        # Asked for an order too, SQLite would walk all that wait by age to find these few.
        wanted = _WAITING.order_by(None).where(Run.owner_id.in_(owners))
    rows = session.connection().execute(wanted)
    for run, owner, queued, memory, low, high, classroom, boosted in rows:
        seconds, back_since = _seconds(low, high), None
        if run in earlier:
            back_since, spent = earlier[run]
            seconds = (max(0.0, seconds[0] - spent), seconds[1]) if seconds else None
        waiting.append(
            Waiting(run, owner, queued, memory, seconds, classroom, boosted is not None, back_since)
        )
    return waiting


def read_rules(session: Session, now: datetime) -> Rules:
    """The lab sessions that go on, the time slice, and the limits on running."""
    settings = get_settings()
    classrooms = session.scalars(select(Classroom)).all()
    person: dict[UUID | None, int | None] = {None: person_limits(None, settings).running}
    person |= {each.id: person_limits(each, settings).running for each in classrooms}
    of_class = {each.id: class_limits(each).running for each in classrooms}
    return Rules(
        _sessions(session, now),
        settings.time_slice,
        _known(person),
        _known(of_class),
    )


def disk_is_full() -> bool:
    """Whether the disk has less room than a new run may count on."""
    settings = get_settings()
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free < settings.min_free_bytes


_WAITING = (
    select(
        Run.id, Run.owner_id, Run.queued_at, Run.memory_bytes,
        Run.seconds_low, Run.seconds_high, Run.classroom_id, Run.boosted_at,
    )
    .where(Run.state == RunState.QUEUED)
    .order_by(Run.queued_at, Run.id)
)  # fmt: skip

_LIVE = (
    select(
        Run.id, Run.owner_id, Run.queued_at, Run.memory_bytes, Run.seconds_low, Run.seconds_high,
        Run.classroom_id, Run.boosted_at, Run.device, Run.attempt, Run.assigned_at,
        Run.preempt_requested_at, Run.stages, Run.stage, Run.stage_started_at,
        Run.progress_done, Run.progress_total,
    )
    .where(Run.state.in_([RunState.ASSIGNED, RunState.RUNNING]))
    .order_by(Run.id)
)  # fmt: skip


def _earlier_attempts(session: Session) -> Mapping[UUID, tuple[datetime | None, float]]:
    """When runs came back to the queue, and the device-seconds they have had."""
    rows = session.execute(
        select(Attempt.run_id, func.max(Attempt.finished_at), func.sum(Attempt.device_seconds))
        .join(Run, Run.id == Attempt.run_id)
        .where(Run.state == RunState.QUEUED, Run.attempt > 0)
        .group_by(Attempt.run_id)
    )
    return {run: (finished_at, spent) for run, finished_at, spent in rows}


def _places(session: Session, live: Sequence[LiveRow], now: datetime) -> list[Place]:
    on_device: dict[str, list[Live]] = defaultdict(list)
    for row in live:
        on_device[row.device].append(_live(row, now))
    devices = session.scalars(select(Device).order_by(Device.name)).all()
    places = [_place(device, on_device.pop(device.name, []), now) for device in devices]
    # What is on a device that is no longer known counts for its owner all the same.
    gone = [Place(name, "", 0, 0, tuple(runs), None, False) for name, runs in on_device.items()]
    return places + gone


def _place(device: Device, runs: Sequence[Live], now: datetime) -> Place:
    return Place(
        device.name,
        device.kind,
        device.memory_bytes,
        device.slots,
        tuple(runs),
        pool=f"host {device.host}" if device.kind == "cpu" else None,
        is_open=takes_runs(device, now),
    )


def _live(row: LiveRow, now: datetime) -> Live:
    return Live(
        row.id,
        row.owner_id,
        row.memory_bytes,
        ends=measured.ends(
            _seconds(row.seconds_low, row.seconds_high), row.assigned_at, progress_of(row), now
        ),
        classroom=row.classroom_id,
        since=row.assigned_at,
        is_asked=row.preempt_requested_at is not None,
        queued_at=row.queued_at,
        boosted=row.boosted_at is not None,
    )


def progress_of(row: Any) -> Progress | None:
    """How far a live run is, by the columns of its stages; None where it has not said so."""
    is_known = row.stage in row.stages and row.stage_started_at and row.progress_total > 0
    if not is_known:
        return None
    after = len(row.stages) - 1 - row.stages.index(row.stage)
    done = min(1.0, row.progress_done / row.progress_total)
    return Progress(len(row.stages), after, done, row.stage_started_at)


def _sessions(session: Session, now: datetime) -> Mapping[UUID, LabSession]:
    going_on = (ClassSession.starts_at <= now, ClassSession.ends_at > now)
    rows = session.execute(
        select(ClassSession.classroom_id, ClassSession.slice_seconds, ClassSession.ends_at)
        .where(*going_on)
        .order_by(ClassSession.ends_at)
    )
    return {
        classroom: LabSession(timedelta(seconds=seconds), ends_at)
        for classroom, seconds, ends_at in rows
    }


def _seconds(low: float | None, high: float | None) -> Range | None:
    return None if low is None or high is None else (low, high)


def _known(limits: Mapping[T, int | None]) -> Mapping[T, int]:
    return {key: most for key, most in limits.items() if most is not None}
