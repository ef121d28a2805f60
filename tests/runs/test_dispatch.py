"""Waiting runs reach devices, with a reason each, whatever the broker does."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from app import broker, clock
from app.database import reading, transaction
from app.i18n import told
from app.models import ClassSession, Device, DeviceState, Role, Run, RunState, User
from app.runs import dispatch, telling
from app.runs.world import read_world
from app.settings import get_settings
from labs.contract import Cause
from tests.support.factories import (
    NOON,
    make_attempt,
    make_classroom,
    make_device,
    make_run,
    make_user,
)


@pytest.fixture(autouse=True)
def silent_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A port where nobody listens, unless a test says otherwise."""
    use_broker("redis://127.0.0.1:9/0", monkeypatch)
    yield
    broker.reset()


def use_broker(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNSEN_BROKER_URL", url)
    get_settings.cache_clear()
    broker.reset()


def device(session: Session, name: str = "cpu", **values: Any) -> Device:
    return make_device(session, name, **{"heartbeat_at": clock.now(), **values})


def states(session: Session) -> list[RunState]:
    return list(session.scalars(select(Run.state).order_by(Run.id)))


def test_runs_fill_the_slots_and_the_rest_learn_why_they_wait(session: Session) -> None:
    device(session, slots=2)
    runs = [make_run(session) for _ in range(4)]
    session.commit()
    assert dispatch.fill_devices() == 2
    session.expire_all()
    assert states(session) == [RunState.ASSIGNED] * 2 + [RunState.QUEUED] * 2
    assert [run.position for run in runs] == [None, None, 1, 2]
    assert runs[2].reason == {
        "message": "Next in line: waits for {device} to finish one of its {count} runs.",
        "values": {"device": "cpu", "count": 2},
    }


@pytest.mark.parametrize(
    "values",
    [
        {"state": DeviceState.DRAINED},
        {"ready": False},
        {"heartbeat_at": clock.now() - timedelta(minutes=5)},
    ],
)
def test_a_device_that_takes_no_runs_gets_none(session: Session, values: dict[str, Any]) -> None:
    device(session, **values)
    run = make_run(session)
    session.commit()
    assert dispatch.fill_devices() == 0
    session.refresh(run)
    assert run.reason is not None
    assert run.reason["message"] == "No device is active. The run starts when one is."


def test_whoever_used_the_devices_least_goes_first(session: Session) -> None:
    device(session, slots=1)
    busy, idle = make_user(session), make_user(session)
    earlier = make_run(session, busy, state=RunState.SUCCEEDED, attempt=1)
    hour = timedelta(hours=1)
    make_attempt(
        session, earlier, started_at=clock.now() - hour, finished_at=clock.now(),
        outcome="succeeded", device_seconds=3600.0,
    )  # fmt: skip
    now = clock.now()
    first = make_run(session, busy, queued_at=now - timedelta(seconds=5))
    second = make_run(session, idle, queued_at=now)
    session.commit()
    assert dispatch.fill_devices() == 1
    session.expire_all()
    assert (first.state, second.state) == (RunState.QUEUED, RunState.ASSIGNED)


def test_reasons_are_written_only_when_they_change(session: Session) -> None:
    run = make_run(session)
    session.commit()
    dispatch.fill_devices()
    session.refresh(run)
    written: list[str] = []
    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", lambda *a: written.append(a[2]))
    dispatch.fill_devices()
    assert any(statement.startswith("SELECT") for statement in written)
    assert [statement for statement in written if "UPDATE" in statement] == []


def test_several_dispatchers_give_each_run_and_each_slot_away_once(session: Session) -> None:
    device(session, slots=5)
    for _ in range(8):
        make_run(session)
    session.commit()
    given: list[int] = []
    threads = [
        threading.Thread(target=lambda: given.append(dispatch.fill_devices())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(given) == 5
    session.expire_all()
    assert Counter(session.scalars(select(Run.attempt))) == {1: 5, 0: 3}


def test_a_broker_that_is_down_delays_nobody(session: Session) -> None:
    device(session, slots=4)
    runs = [make_run(session) for _ in range(4)]
    session.commit()
    assert dispatch.fill_devices() == 4
    session.expire_all()
    assert {run.state for run in runs} == {RunState.ASSIGNED}


def test_a_broker_that_never_answers_holds_nobody_up(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        use_broker(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0", monkeypatch)
        device(session, slots=4)
        run = make_run(session)
        session.commit()
        started = time.monotonic()
        assert dispatch.fill_devices() == 1
        assert not broker.ring(run.id, 1, "cpu")
        waited = time.monotonic() - started
    assert waited < 5  # without our own limit it would be for ever


def test_a_full_disk_starts_nothing_and_says_so(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MIN_FREE_BYTES", str(2**62))
    get_settings.cache_clear()
    device(session)
    run = make_run(session)
    session.commit()
    assert dispatch.fill_devices() == 0
    session.refresh(run)
    assert (run.position, run.reason) == (1, dispatch.DISK_FULL)


def test_a_lab_session_puts_its_class_first_and_others_learn_why(session: Session) -> None:
    teacher, ada = make_user(session, role=Role.INSTRUCTOR), make_user(session)
    maths = make_classroom(session, teacher, ada)
    now = clock.now()
    hour = timedelta(hours=1)
    session.add(
        ClassSession(
            classroom_id=maths.id, starts_at=now - hour, ends_at=now + hour, slice_seconds=300,
            created_by_id=teacher.id, created_at=now,
        )
    )  # fmt: skip
    device(session, slots=1)
    other = make_run(session, queued_at=now - hour)
    ours = [make_run(session, ada, queued_at=now, classroom_id=maths.id) for _ in range(2)]
    session.commit()
    assert dispatch.fill_devices() == 1
    session.expire_all()
    assert [run.state for run in ours] == [RunState.ASSIGNED, RunState.QUEUED]
    assert (ours[1].position, other.position) == (1, 2)
    assert told(other.reason).startswith("A lab session of another class goes on until ")


def test_the_limit_of_a_class_holds_for_each_person_in_it(session: Session) -> None:
    ada = make_user(session)
    maths = make_classroom(session, ada)
    maths.max_running_per_person = 1
    device(session, slots=4)
    runs = [make_run(session, ada, classroom_id=maths.id) for _ in range(2)]
    session.commit()
    assert dispatch.fill_devices() == 1
    session.expire_all()
    expected = "At most 1 of your runs may be on devices at a time, and as many are there"
    assert told(runs[1].reason).startswith(expected)


def live_run(session: Session, owner: User, worked: timedelta, **values: Any) -> Run:
    began = clock.now() - worked
    fields = {"state": RunState.RUNNING, "attempt": 1, "device": "cpu", "queued_at": began}
    run = make_run(session, owner, assigned_at=began, started_at=began, **{**fields, **values})
    make_attempt(session, run, started_at=began, device_seconds=worked.total_seconds())
    return run


def test_after_its_slice_a_run_is_asked_once_to_make_room(session: Session) -> None:
    device(session, slots=1)
    long = live_run(session, make_user(session), timedelta(minutes=25))
    make_run(session, queued_at=clock.now() - timedelta(minutes=21))
    session.commit()
    dispatch.fill_devices()
    session.refresh(long)
    asked_at = long.preempt_requested_at
    assert asked_at is not None
    assert told(long.reason).startswith("Saves its work to make room for somebody")
    session.commit()
    dispatch.fill_devices()
    session.refresh(long)
    assert long.preempt_requested_at == asked_at


def test_a_run_that_made_room_waits_anew_but_keeps_its_age(session: Session) -> None:
    now = clock.now()
    run = make_run(session, queued_at=now - timedelta(hours=2), attempt=1, seconds_low=900.0,
                   seconds_high=1800.0)  # fmt: skip
    finished = now - timedelta(minutes=3)
    make_attempt(
        session, run, started_at=finished - timedelta(minutes=10), finished_at=finished,
        outcome="requeued", cause=Cause.PREEMPTED, device_seconds=600.0,
    )  # fmt: skip
    (waiting,) = read_world(session, now).waiting
    assert (waiting.queued_at, waiting.back_since) == (now - timedelta(hours=2), finished)
    assert waiting.seconds == (300.0, 1800.0)


def test_what_runs_on_a_paused_device_counts_as_a_turn(session: Session) -> None:
    busy, idle = make_user(session), make_user(session)
    device(session, "cuda:0", state=DeviceState.PAUSED)
    device(session, "cpu", slots=1)
    live_run(session, busy, timedelta(minutes=5), device="cuda:0")
    now = clock.now()
    first = make_run(session, busy, queued_at=now - timedelta(hours=5))
    second = make_run(session, idle, queued_at=now)
    session.commit()
    assert dispatch.fill_devices() == 1
    session.expire_all()
    assert (first.state, second.state) == (RunState.QUEUED, RunState.ASSIGNED)


def test_workers_of_one_host_share_its_memory(session: Session) -> None:
    for name in ("cpu", "cpu@second"):
        device(session, name, kind="cpu", memory_bytes=8 * 1024**3)
    for _ in range(2):
        make_run(session, estimate={"memory_bytes": 5 * 1024**3})
    session.commit()
    assert dispatch.fill_devices() == 1


def test_those_far_back_are_told_now_and_then_and_the_head_of_the_line_at_once(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "NEAR", 2)
    owner = make_user(session)
    inputs: dict[str, Any] = {}
    runs: list[Run] = []
    for number in range(5):
        # Ids of one millisecond have no order of their own.
        queued_at = NOON + timedelta(seconds=number)
        runs.append(make_run(session, owner, queued_at=queued_at, **inputs))
        inputs = {"base_model_id": runs[0].base_model_id, "dataset_id": runs[0].dataset_id}
    session.commit()
    telling.forget()
    dispatch.fill_devices()
    session.expire_all()
    assert [run.position for run in runs] == [1, 2, 3, 4, 5]
    runs[0].state = RunState.CANCELLED
    session.commit()
    dispatch.fill_devices()
    session.expire_all()
    assert [run.position for run in runs[1:]] == [1, 2, 4, 5]
    session.commit()
    telling.forget()
    dispatch.fill_devices()
    session.expire_all()
    assert [run.position for run in runs[1:]] == [1, 2, 3, 4]


@given(st.lists(st.floats(0, 20_000), min_size=2), st.floats(0, 3600))
@example([590.0, 601.0], 100.0)
@example([7190.0, 7201.0], 1000.0)
def test_who_starts_later_is_told_no_earlier_time(away: list[float], past: float) -> None:
    now = NOON + timedelta(seconds=past)
    told = [telling.rounded(now + timedelta(seconds=each), now) for each in sorted(away)]
    assert told == sorted(told)


@pytest.fixture
def on_postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNSEN_DATABASE_URL", postgres_url)
    get_settings.cache_clear()


@pytest.mark.usefixtures("on_postgres")
def test_telling_does_not_wait_for_a_row_that_somebody_changes() -> None:
    with transaction() as session:
        runs = [make_run(session).id for _ in range(2)]
    with transaction() as busy:
        busy.execute(update(Run).where(Run.id == runs[0]).values(name="renamed"))
        dispatch.fill_devices()
        assert positions() == {runs[0]: None, runs[1]: 2}
    dispatch.fill_devices()
    assert positions() == {runs[0]: 1, runs[1]: 2}


def positions() -> dict[UUID, int | None]:
    with reading() as session:
        return {run.id: run.position for run in session.scalars(select(Run))}
