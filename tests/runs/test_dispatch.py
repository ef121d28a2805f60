"""Waiting runs reach devices, with a reason each, whatever the broker does."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app import broker, clock
from app.models import Device, DeviceState, Run, RunState
from app.runs import dispatch
from app.settings import get_settings
from tests.support.factories import make_attempt, make_device, make_run, make_user


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
    assert [statement for statement in written if statement.startswith("UPDATE")] == []


def test_two_dispatchers_give_a_run_away_once(session: Session) -> None:
    device(session, slots=8)
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
    assert sum(given) == 8
    session.expire_all()
    assert {run.attempt for run in session.scalars(select(Run))} == {1}


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
