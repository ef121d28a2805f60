"""A site with a crowd in it: classes, devices, what runs on them, and thousands of runs."""

import random
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app import clock, database
from app.accounts.people import add_user, create_api_token
from app.models import (
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
from app.models.base import new_id
from app.runs.reasons import reason_of

STUDENTS, CLASSES, DEVICES, SLOTS = 300, 8, 8, 4
GIB = 1024**3


def fill(runs: int, state: RunState) -> dict[str, str]:
    """So many runs in this state beside a full house; gives a token by kind of person."""
    dice, now = random.Random(3), clock.now()
    with database.transaction() as session:
        people = _people(session)
        inputs = _inputs(session)
        _devices(session, now)
        rows = [_row(number, dice, people, inputs, now, state) for number in range(runs)]
        rows += [_live(number, dice, people, inputs, now) for number in range(DEVICES * SLOTS)]
        for first in range(0, len(rows), 1000):
            session.execute(insert(Run), rows[first : first + 1000])
        asked = {"student": people[1][0], "instructor": people[0][0], "admin": people[0][1]}
        return {kind: create_api_token(session, person) for kind, person in asked.items()}


def _people(session: Session) -> list[list[User]]:
    """Instructor and admin, then the students of each class."""
    staff = [add_user(session, "teacher", Role.INSTRUCTOR), add_user(session, "boss", Role.ADMIN)]
    found = [staff]
    for number in range(CLASSES):
        classroom = Classroom(name=f"Class {number}", created_at=clock.now())
        session.add(classroom)
        session.flush()
        names = [f"student-{number}-{each}" for each in range(STUDENTS // CLASSES)]
        students = [User(name=name, role=Role.STUDENT, created_at=clock.now()) for name in names]
        session.add_all(students)
        session.flush()
        for person in [*students, *(staff[:1] if number == 0 else [])]:
            row = Enrollment(classroom_id=classroom.id, user_id=person.id, role=person.role)
            session.add(row)
        found.append(students)
    return found


def _inputs(session: Session) -> dict[str, Any]:
    """The ids of a model and a dataset that no run here ever opens."""
    now = clock.now()
    model = LanguageModel(name="crowd", path="-", facts={}, created_at=now)
    dataset = Dataset(
        name="crowd", format="prompt_completion", path="-", sha256="0" * 64, bytes=1, rows=1,
        verdict={}, created_at=now,
    )  # fmt: skip
    session.add_all([model, dataset])
    session.flush()
    return {"base_model_id": model.id, "dataset_id": dataset.id}


def _devices(session: Session, now: datetime) -> None:
    for number in range(DEVICES):
        session.add(
            Device(
                name=f"cuda:{number}", kind="cuda", title="80 GiB, made up", host="box",
                memory_bytes=80 * GIB, slots=SLOTS, ready=True, state=DeviceState.ACTIVE,
                heartbeat_at=now + timedelta(hours=1),
            )
        )  # fmt: skip


def _row(
    number: int,
    dice: random.Random,
    people: list[list[User]],
    inputs: dict[str, Any],
    now: datetime,
    state: RunState,
) -> dict[str, Any]:
    owner = dice.choice(people[1 + number % CLASSES])
    start = now + timedelta(seconds=10 * number)
    expected = {"earliest": start.isoformat(), "latest": (start + timedelta(minutes=9)).isoformat()}
    waits = state is RunState.QUEUED
    return {
        "id": new_id(), "owner_id": owner.id, "name": f"run {number}", "lab": "lora",
        "code_version": "1", "stages": ["setup", "train"],
        "params": {"steps": 100, "rank": 8, "learning_rate": 1e-4, "targets": "q_proj,v_proj"},
        "seed": number, "estimate": {"memory_bytes": 2 * GIB, "seconds": [60, 240], "parts": {}},
        "memory_bytes": 2 * GIB, "seconds_low": 60.0, "seconds_high": 240.0, "state": state,
        "attempt": 0 if waits else 1, "position": number + 1 if waits else None,
        "reason": reason_of("Ahead in line: {ahead}.", ahead=number) if waits else None,
        "expected_start": expected if waits else None, "created_at": now,
        "queued_at": now - timedelta(seconds=number % 7200), "environment": {},
        "finished_at": None if waits else now, **inputs,
    }  # fmt: skip


def _live(
    number: int,
    dice: random.Random,
    people: list[list[User]],
    inputs: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    row = _row(number, dice, people, inputs, now, RunState.RUNNING)
    device = f"cuda:{number % DEVICES}"
    return {**row, "device": device, "assigned_at": now, "started_at": now, "finished_at": None}


def own_run(token_owner: str) -> str:
    """The waiting run of this person that is furthest back."""
    with database.reading() as session:
        furthest = (
            select(Run.id)
            .join(User, User.id == Run.owner_id)
            .where(User.name == token_owner, Run.state == RunState.QUEUED)
            .order_by(Run.position.desc())
        )
        return str(session.scalars(furthest).first())
