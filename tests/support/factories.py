"""Rows with sensible values; a test names only what it is about. Nothing here commits."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from app.models import (
    Attempt,
    Classroom,
    Dataset,
    Device,
    DeviceState,
    Enrollment,
    LanguageModel,
    Role,
    Run,
    RunState,
    User,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
_numbers = count(1)


def add(session: Session, row: Any) -> Any:
    session.add(row)
    session.flush()
    return row


def make_user(session: Session, name: str = "", role: Role = Role.STUDENT, **values: Any) -> User:
    name = name or f"{role.value}-{next(_numbers)}"
    user: User = add(session, User(name=name, role=role, **{"created_at": NOON, **values}))
    return user


def make_classroom(session: Session, *people: User, name: str = "") -> Classroom:
    """A class in which each of the people has their own role."""
    classroom: Classroom = add(
        session, Classroom(name=name or f"Class {next(_numbers)}", created_at=NOON)
    )
    for person in people:
        add(session, Enrollment(classroom_id=classroom.id, user_id=person.id, role=person.role))
    return classroom


def make_model(session: Session, **values: Any) -> LanguageModel:
    defaults = {"name": f"model-{next(_numbers)}", "path": "/models/base", "facts": {}}
    model: LanguageModel = add(session, LanguageModel(created_at=NOON, **{**defaults, **values}))
    return model


def make_dataset(session: Session, **values: Any) -> Dataset:
    number = next(_numbers)
    defaults = {
        "name": f"dataset-{number}",
        "format": "prompt_completion",
        "path": "/datasets/rows.jsonl",
        "sha256": f"{number:064x}",
        "bytes": 1000,
        "rows": 10,
        "verdict": {},
    }
    dataset: Dataset = add(session, Dataset(created_at=NOON, **{**defaults, **values}))
    return dataset


def make_device(session: Session, name: str = "cpu", **values: Any) -> Device:
    defaults = {
        "kind": "cuda" if name.startswith("cuda") else "cpu",
        "title": "A device",
        "host": "localhost",
        "memory_bytes": 8 * 1024**3,
        "slots": 4,
        "ready": True,
        "state": DeviceState.ACTIVE,
        "heartbeat": 1,
        "heartbeat_at": NOON,
    }
    device: Device = add(session, Device(name=name, **{**defaults, **values}))
    return device


def make_run(session: Session, owner: User | None = None, **values: Any) -> Run:
    """A queued run of the LoRA lab, unless told otherwise."""
    owner = owner or make_user(session)
    defaults = {
        "name": f"run {next(_numbers)}",
        "lab": "lora",
        "code_version": "1",
        "stages": ["train"],
        "params": {},
        "seed": 0,
        "estimate": {"memory_bytes": 1024**3},
        "state": RunState.QUEUED,
        "created_at": NOON,
        "queued_at": NOON,
    }
    defaults["memory_bytes"] = values.get("estimate", defaults["estimate"]).get("memory_bytes", 0)
    if "base_model_id" not in values:
        values["base_model_id"] = make_model(session).id
    if "dataset_id" not in values:
        values["dataset_id"] = make_dataset(session).id
    run: Run = add(session, Run(owner_id=owner.id, **{**defaults, **values}))
    return run


def make_attempt(session: Session, run: Run, number: int = 1, **values: Any) -> Attempt:
    defaults = {"device": "cpu", "heartbeat": 1, "heartbeat_at": NOON, "assigned_at": NOON}
    attempt: Attempt = add(session, Attempt(run_id=run.id, number=number, **{**defaults, **values}))
    return attempt
