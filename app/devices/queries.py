"""Every SELECT of devices, and the one change people make to them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import Action, require
from app.audit.record import record
from app.devices.health import is_silent as is_silent
from app.errors import NotFound
from app.i18n import N_
from app.models import Device, DeviceState, User


def list_devices(session: Session) -> Sequence[Device]:
    """Every device that ever registered, by name."""
    return session.scalars(select(Device).order_by(Device.name)).all()


def takes_runs(device: Device, now: datetime) -> bool:
    """Whether a run may be given to it now."""
    return device.state is DeviceState.ACTIVE and device.ready and not is_silent(device, now)


def set_state(
    session: Session, actor: User, name: str, state: DeviceState, reason: str = ""
) -> Device:
    """Drain a device (running runs end, no new ones start) or take it back into service."""
    require(actor, Action.MANAGE_DEVICES)
    device = session.get(Device, name, with_for_update=True)
    if device is None:
        raise NotFound(N_("There is no device “{name}”."), name=name)
    device.state, device.state_reason = state, reason[:200]
    record(session, actor, f"device_{state.value}", name, reason=reason[:200])
    return device
