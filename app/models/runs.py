"""Runs, their attempts, and what they leave behind."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Float, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.accounts import Classroom, User
from app.models.base import JSON_VALUE, Base, new_id, stored_enum
from app.models.inputs import Dataset, LanguageModel


class RunState(StrEnum):
    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"

    @property
    def is_over(self) -> bool:
        return self in OVER

    @property
    def is_live(self) -> bool:
        return self in (RunState.ASSIGNED, RunState.RUNNING)


OVER = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


class Run(Base):
    """One execution of a lab, stage by stage, for one person. The row is the truth."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("owner_id", "idempotency_key"),
        Index("ix_runs_state_queued_at", "state", "queued_at"),
        Index("ix_runs_state_position", "state", "position"),
        Index("ix_runs_state_lab_classroom_id", "state", "lab", "classroom_id"),
        Index("ix_runs_owner_id_state_position", "owner_id", "state", "position"),
        Index("ix_runs_group_id_group_place", "group_id", "group_place"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    classroom_id: Mapped[UUID | None] = mapped_column(ForeignKey("classrooms.id"), index=True)
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(120))
    lab: Mapped[str] = mapped_column(String(64), index=True)
    code_version: Mapped[str] = mapped_column(String(64))
    stages: Mapped[list[Any]]
    params: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    base_model_id: Mapped[UUID] = mapped_column(ForeignKey("language_models.id"))
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("datasets.id"))
    parent_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"), index=True)
    estimate: Mapped[dict[str, Any]]
    # What the scheduler reads of the estimate, as columns: it reads ten thousand rows at once.
    memory_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds_low: Mapped[float | None] = mapped_column(Float(53))
    seconds_high: Mapped[float | None] = mapped_column(Float(53))
    # Equal for equal work, but for the seed (app/runs/same_work.py).
    fingerprint: Mapped[str | None] = mapped_column(String(64), index=True)
    # The finished run whose result this one took over instead of computing it again.
    same_as_id: Mapped[UUID | None] = mapped_column(index=True)
    # The run that ran out of memory and whose place in the queue this one took, once.
    retry_of_id: Mapped[UUID | None] = mapped_column(index=True, unique=True)
    # The sweep or scoreboard that started it (RunGroup), and its place there, from 0.
    group_id: Mapped[UUID | None]
    group_place: Mapped[int | None]

    state: Mapped[RunState] = mapped_column(stored_enum(RunState), index=True)
    attempt: Mapped[int] = mapped_column(default=0)
    device: Mapped[str | None] = mapped_column(String(64))
    # Why it waits, or why it ended: {"message": template, "values": {...}}.
    reason: Mapped[dict[str, Any] | None] = mapped_column(JSON_VALUE)
    cause: Mapped[str | None] = mapped_column(String(32))
    position: Mapped[int | None]
    expected_start: Mapped[dict[str, Any] | None] = mapped_column(JSON_VALUE)

    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    assigned_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    preempt_requested_at: Mapped[datetime | None]
    boosted_at: Mapped[datetime | None]
    # What it left is gone and nobody sees it any more; its attempts still count as use.
    deleted_at: Mapped[datetime | None]
    deleted_by_id: Mapped[UUID | None]

    stage: Mapped[str | None] = mapped_column(String(32))
    progress_done: Mapped[float] = mapped_column(Float(53), default=0.0)
    progress_total: Mapped[float] = mapped_column(Float(53), default=0.0)
    progress_note: Mapped[str] = mapped_column(String(200), default="")
    stage_started_at: Mapped[datetime | None]
    environment: Mapped[dict[str, Any]] = mapped_column(default=dict)
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    metric_rows: Mapped[int] = mapped_column(BigInteger, default=0)
    event_count: Mapped[int] = mapped_column(BigInteger, default=0)

    owner: Mapped[User] = relationship(foreign_keys=[owner_id], lazy="raise")
    classroom: Mapped[Classroom | None] = relationship(lazy="raise")
    base_model: Mapped[LanguageModel] = relationship(lazy="raise")
    dataset: Mapped[Dataset] = relationship(lazy="raise")


class RunResource(Base):
    """What a parameter of a run names beside its base model and dataset: exactly one of three."""

    __tablename__ = "run_resources"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    # The parameter, such as "teacher".
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("language_models.id"))
    dataset_id: Mapped[UUID | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    used_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"), index=True)


class Attempt(Base):
    """One try at a run. Its number fences every write of the worker that carries it out."""

    __tablename__ = "attempts"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(String(64), index=True)
    # Counts renewals. Judged by its changing, not by a clock two machines may disagree on.
    heartbeat: Mapped[int] = mapped_column(BigInteger, default=0)
    heartbeat_at: Mapped[datetime]
    assigned_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    outcome: Mapped[str | None] = mapped_column(String(32))
    cause: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[dict[str, Any] | None] = mapped_column(JSON_VALUE)
    resumed_from_step: Mapped[int | None]
    # Bytes of events.jsonl that are in the database, committed together with them.
    events_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    pid: Mapped[int | None]
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    # Renewed with the lease, from the supervisor's own steady clock.
    device_seconds: Mapped[float] = mapped_column(Float(53), default=0.0)


class RunEvent(Base):
    """Something a run showed or became, numbered without gaps within the run."""

    __tablename__ = "run_events"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(24))
    at: Mapped[datetime]
    payload: Mapped[dict[str, Any]]


class Artifact(Base):
    """A folder that a run leaves, complete and checksummed."""

    __tablename__ = "artifacts"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    path: Mapped[str] = mapped_column(String(255))  # relative to the run directory
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    step: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int]
    created_at: Mapped[datetime]


class MetricChunk(Base):
    """Consecutive metric rows of a run, packed by column (see app/metrics/store.py)."""

    __tablename__ = "metric_chunks"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    first_row: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    rows: Mapped[int]
    attempt: Mapped[int]
    archived: Mapped[bool] = mapped_column(default=False)
    keys: Mapped[list[Any]]
    data: Mapped[bytes] = mapped_column(LargeBinary)


class MetricLatest(Base):
    """The newest and the extreme values of one key, for lists and sorting."""

    __tablename__ = "metric_latest"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(120), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger)
    # None is not-a-number, which SQLite cannot keep in a column.
    value: Mapped[float | None] = mapped_column(Float(53))
    first: Mapped[float | None] = mapped_column(Float(53))
    minimum: Mapped[float | None] = mapped_column(Float(53))
    maximum: Mapped[float | None] = mapped_column(Float(53))
