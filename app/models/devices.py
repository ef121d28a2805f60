"""The devices that carry runs out."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import JSON_VALUE, Base, stored_enum


class DeviceState(StrEnum):
    """Whether runs may be given to a device, and what becomes of those on it."""

    ACTIVE = "active"
    PAUSED = "paused"  # nothing new; what runs on it goes on to its end
    DRAINED = "drained"  # nothing new; what runs on it saves and goes back to the queue


class Device(Base):
    """One GPU, or the CPU, that one worker owns. `name` is also its Celery queue's."""

    __tablename__ = "devices"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))  # "cpu" or "cuda"
    title: Mapped[str] = mapped_column(String(120))
    host: Mapped[str] = mapped_column(String(255))
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    slots: Mapped[int]
    # Whether its worker is up and warm; a worker says so, and takes it back when it stops.
    ready: Mapped[bool] = mapped_column(default=False)
    state: Mapped[DeviceState] = mapped_column(stored_enum(DeviceState))
    state_reason: Mapped[str] = mapped_column(String(200), default="")
    # Why it was drained by itself: {"message": template, "values": {...}}.
    fault: Mapped[dict[str, Any] | None] = mapped_column(JSON_VALUE)
    # The last canary sent through the broker, the last one its worker heard, and when.
    canary_sent: Mapped[int] = mapped_column(BigInteger, default=0)
    canary_heard: Mapped[int] = mapped_column(BigInteger, default=0)
    canary_heard_at: Mapped[datetime | None]
    pid: Mapped[int] = mapped_column(default=0)
    boot_id: Mapped[str] = mapped_column(String(64), default="")
    heartbeat: Mapped[int] = mapped_column(BigInteger, default=0)
    heartbeat_at: Mapped[datetime]
    telemetry: Mapped[dict[str, Any]] = mapped_column(default=dict)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
