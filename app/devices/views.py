"""What the page of devices shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app import clock
from app.devices.queries import list_devices, needs_a_person
from app.devices.status import Status, status_of
from app.models import Device, DeviceState, Run, User
from app.runs import queries


@dataclass(frozen=True, slots=True)
class Share:
    """A run on a device: the memory kept for it, and what it takes now, from `start` on."""

    run: Run
    start: int
    reserved: int
    used: int | None
    tasks: int | None

    @property
    def end(self) -> int:
        return self.start + self.reserved


@dataclass(frozen=True, slots=True)
class DeviceCard:
    """A device, how it is, how full and how busy, and what runs on it."""

    device: Device
    status: Status
    heard_seconds: float
    canary_seconds: float | None
    shares: Sequence[Share]
    telemetry: Mapping[str, Any]

    @property
    def reserved(self) -> int:
        return sum(share.reserved for share in self.shares)

    @property
    def can_resume(self) -> bool:
        """Whether there is anything to take back into service, and nothing stands against it."""
        return self.device.state is not DeviceState.ACTIVE and not needs_a_person(self.device)


@dataclass(frozen=True, slots=True)
class DevicesPage:
    """All devices. Rendered by admin/devices.html; its block `devices` also alone."""

    cards: Sequence[DeviceCard]
    waiting_total: int


@dataclass(frozen=True, slots=True)
class Banner:
    """The devices that are broken. Rendered by admin/devices/_banner.html."""

    broken: Sequence[Device]


def devices_page(session: Session, actor: User) -> DevicesPage:
    live, now = queries.live(session, actor), clock.now()
    return DevicesPage(
        cards=[_card(device, live, now) for device in list_devices(session)],
        waiting_total=queries.count_waiting(session),
    )


def banner(session: Session) -> Banner:
    return Banner([device for device in list_devices(session) if device.fault])


def _card(device: Device, live: Sequence[Run], now: datetime) -> DeviceCard:
    heard_at = device.canary_heard_at
    return DeviceCard(
        device=device,
        status=status_of(device, now),
        heard_seconds=max(0.0, (now - device.heartbeat_at).total_seconds()),
        canary_seconds=max(0.0, (now - heard_at).total_seconds()) if heard_at else None,
        shares=_shares(device, [run for run in live if run.device == device.name]),
        telemetry=device.telemetry,
    )


def _shares(device: Device, runs: Sequence[Run]) -> list[Share]:
    shares: list[Share] = []
    for run in runs:
        start = shares[-1].end if shares else 0
        figures = _figures(device, run.id)
        shares.append(
            Share(run, start, run.memory_bytes, figures.get("memory_bytes"), figures.get("tasks"))
        )
    return shares


def _figures(device: Device, run_id: UUID) -> Mapping[str, int]:
    found: Mapping[str, int] = device.telemetry.get("runs", {}).get(str(run_id), {})
    return found
