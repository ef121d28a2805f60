"""What the page of devices shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app import clock
from app.devices.queries import is_silent, list_devices
from app.models import Device, Run, User
from app.runs import queries


@dataclass(frozen=True, slots=True)
class DeviceCard:
    """A device, how full and how busy it is, and what runs on it."""

    device: Device
    silent: bool
    used_bytes: int | None
    total_bytes: int
    use_percent: float | None
    temperature: float | None
    power: float | None
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class DevicesPage:
    """All devices. Rendered by admin/devices.html; its block `devices` also alone."""

    cards: Sequence[DeviceCard]
    waiting_total: int


def devices_page(session: Session, actor: User) -> DevicesPage:
    live = queries.live(session, actor)
    return DevicesPage(
        cards=[_card(device, live) for device in list_devices(session)],
        waiting_total=queries.count_waiting(session),
    )


def _card(device: Device, live: Sequence[Run]) -> DeviceCard:
    read = device.telemetry
    use = read.get("use_fraction")
    return DeviceCard(
        device=device,
        silent=is_silent(device, clock.now()),
        used_bytes=read.get("memory_used_bytes"),
        total_bytes=read.get("memory_total_bytes", device.memory_bytes),
        use_percent=100 * use if use is not None else None,
        temperature=read.get("temperature_celsius"),
        power=read.get("power_watts"),
        runs=[run for run in live if run.device == device.name],
    )
