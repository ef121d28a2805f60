"""The queue: what waits and what runs, as far as a person may know."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from app import clock
from app.access import Action, can
from app.devices.queries import is_silent, list_devices
from app.i18n import gettext
from app.models import Device, Run, RunState, User
from app.runs import queries
from app.runs.labs_of import lab_of
from app.runs.stages import progress_fraction


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A waiting or running run; of somebody else's only what everybody may know."""

    run: Run
    is_known: bool
    lab: str
    fraction: float | None
    may_cancel: bool


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device and how many of its places are taken."""

    device: Device
    silent: bool
    taken: int


@dataclass(frozen=True, slots=True)
class QueuePage:
    """What waits, where and why. Rendered by queue/index.html; its block `lists` also alone."""

    live: Sequence[QueueLine]
    waiting: Sequence[QueueLine]
    held: Sequence[QueueLine]
    devices: Sequence[DeviceLine]
    now: datetime


def queue_page(session: Session, actor: User) -> QueuePage:
    now = clock.now()
    known = {run.id for run in [*queries.live(session, actor), *queries.waiting(session, actor)]}
    runs = session.scalars(_unfinished()).all()
    lines = [_line(run, actor, run.id in known) for run in runs]
    taken = [line.run.device for line in lines if line.run.state.is_live]
    held, _cursor = queries.list_runs(session, actor, state=RunState.HELD)
    return QueuePage(
        live=[line for line in lines if line.run.state.is_live],
        waiting=[line for line in lines if line.run.state is RunState.QUEUED],
        held=[_line(run, actor, True) for run in held],
        devices=[
            DeviceLine(device, is_silent(device, now), taken.count(device.name))
            for device in list_devices(session)
        ],
        now=now,
    )


def _unfinished() -> Select[Run]:
    """Everybody's runs on devices and in the queue; the page shows others' without a name."""
    states = [RunState.QUEUED, RunState.ASSIGNED, RunState.RUNNING]
    order = (Run.position.is_(None), Run.position, Run.assigned_at, Run.queued_at, Run.id)
    return select(Run).where(Run.state.in_(states)).options(joinedload(Run.owner)).order_by(*order)


def _line(run: Run, actor: User, is_known: bool) -> QueueLine:
    asked = run.cancel_requested_at is not None
    return QueueLine(
        run=run,
        is_known=is_known,
        lab=gettext(lab_of(run).title),
        fraction=progress_fraction(run),
        may_cancel=is_known and not asked and can(actor, Action.CANCEL_RUN, run.owner_id),
    )
