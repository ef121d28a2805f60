"""Runs that were started as one: sweeps and scoreboards."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.accounts import User
from app.models.base import Base, new_id, stored_enum


class GroupKind(StrEnum):
    """Values of parameters of one lab, or methods beside each other."""

    SWEEP = "sweep"
    SCOREBOARD = "scoreboard"


class RunGroup(Base):
    """Runs that one person started together; each knows its group and its place there."""

    __tablename__ = "run_groups"
    __table_args__ = (UniqueConstraint("owner_id", "idempotency_key"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    kind: Mapped[GroupKind] = mapped_column(stored_enum(GroupKind))
    name: Mapped[str] = mapped_column(String(120))
    # Of a sweep; a scoreboard has a lab for each run.
    lab: Mapped[str | None] = mapped_column(String(64))
    # What was asked for: what varies over which values, or which methods with which budget.
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]

    owner: Mapped[User] = relationship(lazy="raise")
