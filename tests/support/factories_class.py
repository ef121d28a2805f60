"""A class in the middle of an afternoon: people who run, wait, fail alike, and need somebody."""

from datetime import timedelta
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.i18n import N_
from app.models import Classroom, ClassSession, Enrollment, Role, Run, RunState, User
from app.runs.reasons import reason_of
from labs.contract import Cause
from tests.support.factories import (
    add,
    make_attempt,
    make_dataset,
    make_model,
    make_run,
    make_user,
)

NAMES = (
    "amir", "bea", "chen.wei", "dana", "emre", "fatima", "goran", "hana", "ivan", "jasmin", "kofi",
    "lena", "mei-ling", "nadia", "omar", "priya", "quentin", "rosa", "sven", "tomoko",
)  # fmt: skip
_numbers = count()
HELD = reason_of(
    N_("Stopped {count} times in the same way ({cause}). Somebody must look before it runs again."),
    count=3,
    cause="killed",
)
WAITS = reason_of(N_("Just arrived; a place is being looked for."))
# What becomes of the runs of one student; the next student gets the next row.
LIVES: tuple[tuple[RunState, ...], ...] = (
    (RunState.SUCCEEDED, RunState.RUNNING),
    (RunState.SUCCEEDED, RunState.FAILED, RunState.SUCCEEDED, RunState.QUEUED),
    (RunState.FAILED, RunState.FAILED, RunState.FAILED),
    (RunState.QUEUED, RunState.QUEUED, RunState.QUEUED),
    (RunState.SUCCEEDED,),
    (RunState.SUCCEEDED, RunState.HELD),
    (),
    (RunState.CANCELLED, RunState.SUCCEEDED, RunState.QUEUED),
)


def make_busy_class(session: Session, teacher: User, size: int, name: str = "") -> Classroom:
    """`size` students of a teacher, each with the runs of one of the LIVES."""
    now = clock.now()
    classroom: Classroom = add(
        session, Classroom(name=name or f"Fine-tuning {teacher.name}", created_at=now)
    )
    enroll(session, classroom, teacher)
    inputs = {"base_model_id": make_model(session).id, "dataset_id": make_dataset(session).id}
    position = 0
    for number in range(size):
        student = make_user(session, _name(next(_numbers)))
        enroll(session, classroom, student)
        for step, state in enumerate(LIVES[number % len(LIVES)]):
            position += state is RunState.QUEUED
            begun = now - timedelta(minutes=90 - 20 * step + number % 7)
            values = {**inputs, "classroom_id": classroom.id, **_fate(state, begun, position)}
            run = make_run(session, student, name=f"LoRA #{step + 1}", state=state, **values)
            _try_it(session, run)
    return classroom


def enroll(session: Session, classroom: Classroom, *people: User) -> None:
    for person in people:
        add(
            session,
            Enrollment(classroom_id=classroom.id, user_id=person.id, role=person.role),
        )


def make_session(
    session: Session, classroom: Classroom, teacher: User, **values: Any
) -> ClassSession:
    """A lab session that goes on: begun half an hour ago, for two hours."""
    now = clock.now()
    defaults = {
        "starts_at": now - timedelta(minutes=30),
        "ends_at": now + timedelta(minutes=90),
        "slice_seconds": 300,
        "created_by_id": teacher.id,
        "created_at": now,
    }
    made: ClassSession = add(
        session, ClassSession(classroom_id=classroom.id, **{**defaults, **values})
    )
    return made


def make_teacher(session: Session, name: str = "") -> User:
    return make_user(session, name, role=Role.INSTRUCTOR)


def _name(number: int) -> str:
    around = number // len(NAMES)
    return NAMES[number % len(NAMES)] + (f".{around + 1}" if around else "")


def _fate(state: RunState, begun: Any, position: int) -> dict[str, Any]:
    """What the row of a run in this state says beside its state."""
    values: dict[str, Any] = {"created_at": begun, "queued_at": begun}
    if state is RunState.QUEUED:
        start = clock.now() + timedelta(minutes=2 * position)
        latest = start + timedelta(minutes=6)
        expected = {"earliest": start.isoformat(), "latest": latest.isoformat()}
        return {**values, "position": position, "reason": WAITS, "expected_start": expected}
    values |= {"attempt": 1, "started_at": begun, "device": "cuda:0"}
    if state is RunState.HELD:
        return {**values, "device": None, "cause": Cause.REPEATED_FAILURE.value, "reason": HELD}
    if state is RunState.FAILED:
        values["cause"] = Cause.OUT_OF_MEMORY.value
    if state is RunState.RUNNING:
        values["assigned_at"] = begun
    if state.is_over:
        values["finished_at"] = begun + timedelta(minutes=9)
    return values


def _try_it(session: Session, run: Run) -> None:
    if run.started_at is not None:
        make_attempt(
            session, run, started_at=run.started_at, finished_at=run.finished_at,
            device_seconds=(clock.now() - run.started_at).total_seconds() / 3,
        )  # fmt: skip
