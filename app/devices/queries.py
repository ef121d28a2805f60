"""Every SELECT of devices, and the one change people make to them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import Action, require
from app.audit.record import record
from app.devices.health import is_silent as is_silent
from app.errors import Conflict, NotFound
from app.i18n import N_
from app.models import Device, DeviceState, User
from app.settings import get_settings


def list_devices(session: Session) -> Sequence[Device]:
    """Every device that ever registered, by name."""
    return session.scalars(select(Device).order_by(Device.name)).all()


def takes_runs(device: Device, now: datetime) -> bool:
    """Whether a run may be given to it now."""
    return (
        device.state is DeviceState.ACTIVE
        and device.ready
        and not is_silent(device, now)
        and not lacks_disk(device)
    )


def lacks_disk(device: Device) -> bool:
    """Whether the disk under its runs is too full for a new one."""
    free = device.telemetry.get("disk_free_bytes")
    return free is not None and free < get_settings().min_free_bytes


def needs_a_person(device: Device) -> bool:
    """Whether a process is left on it that nothing has ended: nothing may start beside it."""
    return "process" in (device.fault or {})


def set_state(
    session: Session, actor: User, name: str, state: DeviceState, reason: str = ""
) -> Device:
    """Pause or drain a device, or take it back into service, which forgets its fault.

    Raises:
        Conflict: If a process that does not end is still on it.
    """
    require(actor, Action.MANAGE_DEVICES)
    device = session.get(Device, name, with_for_update=True)
    if device is None:
        raise NotFound(N_("There is no device “{name}”."), name=name)
    if needs_a_person(device) and state is not DeviceState.DRAINED:
        raise Conflict(
            N_("On {name} a process is left that does not end. It takes no runs until it has."),
            name=name,
        )
    if state is DeviceState.ACTIVE:
        device.fault = None
    device.state, device.state_reason = state, reason[:200]
    record(session, actor, f"device_{state.value}", name, reason=reason[:200])
    return device
