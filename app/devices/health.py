"""Whether a device's worker is heard of, hears us, and whether the device is broken."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.audit.record import record
from app.models import Device, DeviceState

Json = dict[str, Any]
# A worker says every two seconds that it is there.
SILENT_AFTER = timedelta(seconds=10)
# One canary may be on its way, or have been lost with a broker that was emptied.
CANARIES_ON_THE_WAY = 1


def is_silent(device: Device, now: datetime) -> bool:
    """Whether its worker has not been heard of for a while."""
    return now - device.heartbeat_at > SILENT_AFTER


def is_deaf(device: Device) -> bool:
    """Whether what is sent to its worker through the broker does not arrive."""
    return device.canary_sent - device.canary_heard > CANARIES_ON_THE_WAY


def set_fault(session: Session, name: str, fault: Json) -> None:
    """Take a broken device out of service, with the reason and without a person.

    Its runs go back to the queue; it stays out until somebody resumes it.
    """
    changed = session.execute(
        update(Device)
        .where(Device.name == name)
        .values(state=DeviceState.DRAINED, fault=fault)
        .returning(Device.name)
    )
    if changed.one_or_none() is not None:
        record(session, None, "device_fault", name, **fault)


def tell_fault_over(session: Session, name: str, told: Json) -> None:
    """Say that what was wrong is no longer so; the device stays out until it is resumed."""
    session.execute(update(Device).where(Device.name == name).values(fault=told))
