"""The one word for how a device is; pages, queue and API all go by it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from app.devices.health import is_deaf, is_silent
from app.devices.queries import lacks_disk
from app.models import Device, DeviceState

Status = Literal["fault", "drained", "silent", "paused", "starting", "disk_full", "deaf", "active"]


def status_of(device: Device, now: datetime) -> Status:
    """What weighs most comes first. A device takes runs only when it is active or deaf."""
    told: Mapping[Status, bool] = {
        "fault": device.fault is not None,
        "drained": device.state is DeviceState.DRAINED,
        "silent": is_silent(device, now),
        "paused": device.state is DeviceState.PAUSED,
        "starting": not device.ready,
        "disk_full": lacks_disk(device),
        "deaf": is_deaf(device),
    }
    return next((status for status, holds in told.items() if holds), "active")
