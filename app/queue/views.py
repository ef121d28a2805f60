"""The queue: what waits and what runs, as far as a person may know."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app import clock
from app.classrooms import sessions
from app.devices.queries import list_devices
from app.devices.status import Status, status_of
from app.i18n import N_
from app.models import ClassSession, Device, DeviceState, User
from app.queue import queries
from app.queue.lines import QueueLine, lab_title, line_of
from app.queue.queries import Cursor, Row
from app.runs.reasons import reason_of

PAGE = 25
MOST_OWN = 10
MOST_HELD = 50
# A lab session is announced as the next one from so long before.
ANNOUNCED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device, how full it is, and why it takes no runs if it takes none."""

    device: Device
    status: Status
    taken: int
    used_bytes: int
    trouble: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class QueuePage:
    """What waits, where and why. Rendered by queue/index.html; its block `lists` also alone."""

    now: datetime
    sessions: Sequence[ClassSession]
    next_session: ClassSession | None
    devices: Sequence[DeviceLine]
    yours: Sequence[QueueLine]
    yours_total: int
    live: Sequence[QueueLine]
    waiting: Sequence[QueueLine]
    waiting_total: int
    by_lab: Sequence[tuple[str, int]]
    by_class: Sequence[tuple[str, int]]
    held: Sequence[QueueLine]
    address: str
    is_first: bool
    next_address: str | None


def queue_page(session: Session, actor: User, cursor: Cursor) -> QueuePage:
    now = clock.now()
    going_on, coming = lab_sessions(session, now)
    in_session = {each.classroom_id for each in going_on}
    waiting, following = queries.line(session, actor, cursor, PAGE)
    yours = queries.own(session, actor, MOST_OWN)
    kinds = queries.waiting_by_kind(session)

    def shown(rows: Sequence[Row]) -> list[QueueLine]:
        return [line_of(row, actor, in_session, now) for row in rows]

    return QueuePage(
        now=now,
        sessions=going_on,
        next_session=coming,
        devices=device_lines(session, now),
        yours=shown(yours),
        yours_total=own_total(session, actor, yours),
        live=shown(queries.live(session, actor)),
        waiting=shown(waiting),
        waiting_total=sum(runs for _, _, runs in kinds),
        by_lab=summed((lab_title(lab), runs) for lab, _, runs in kinds),
        by_class=summed((name, runs) for _, name, runs in kinds if name),
        held=shown(queries.held(session, actor, MOST_HELD)),
        address=address(cursor),
        is_first=cursor == Cursor(),
        next_address=address(following) if following else None,
    )


def address(cursor: Cursor) -> str:
    """The page of the queue that begins there."""
    return "/queue" if cursor == Cursor() else f"/queue?cursor={cursor}"


def lab_sessions(session: Session, now: datetime) -> tuple[list[ClassSession], ClassSession | None]:
    """The lab sessions that go on, and the one that begins next if it is soon."""
    found = sessions.unfinished(session, now, now + ANNOUNCED)
    going_on = [each for each in found if each.starts_at <= now]
    return going_on, next((each for each in found if each.starts_at > now), None)


def own_total(session: Session, actor: User, shown: Collection[Row]) -> int:
    """How many of the actor's runs wait, those that are not shown included."""
    return len(shown) if len(shown) < MOST_OWN else queries.count_own(session, actor)


def summed(counted: Any) -> list[tuple[str, int]]:
    """Names with their sums, the greatest first."""
    totals = Counter[str]()
    for name, runs in counted:
        totals[name] += runs
    return sorted(totals.items(), key=lambda each: (-each[1], each[0]))


def device_lines(session: Session, now: datetime) -> list[DeviceLine]:
    """Every device with what is taken of it."""
    taken = queries.taken(session)
    return [
        _device_line(each, status_of(each, now), *taken.get(each.name, (0, 0)))
        for each in list_devices(session)
    ]


def _device_line(device: Device, status: Status, taken: int, used: int) -> DeviceLine:
    return DeviceLine(device, status, taken, used, trouble(device, status))


def trouble(device: Device, status: Status) -> Mapping[str, Any] | None:
    """One sentence on why a device takes no new runs now."""
    match status:
        case "fault":
            return device.fault
        case "drained" | "paused":
            return _taken_out(device)
        case "silent":
            return reason_of(N_("Its worker has not been heard of; runs go elsewhere."))
        case "starting":
            return reason_of(N_("Its worker is starting and takes runs soon."))
        case "disk_full":
            return reason_of(N_("Its disk is too full for new runs. Those on it go on."))
    return None


def _taken_out(device: Device) -> Mapping[str, Any]:
    paused = device.state is DeviceState.PAUSED
    if device.state_reason:
        told = (
            N_("Paused: takes no new runs, those on it go on. {why}")
            if paused
            else N_("Out of service: runs on it save and go back to the queue. {why}")
        )
        return reason_of(told, why=device.state_reason)
    return reason_of(
        N_("Paused: takes no new runs, those on it go on.")
        if paused
        else N_("Out of service: runs on it save and go back to the queue.")
    )


def classes_in_session(session: Session, now: datetime) -> set[UUID]:
    """The classes whose lab session goes on."""
    return {each.classroom_id for each in lab_sessions(session, now)[0]}
