"""Devices: who may take them out of service, and when one counts as silent."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.devices import health, queries
from app.devices.status import status_of
from app.errors import Conflict, Forbidden, NotFound
from app.models import AuditEntry, DeviceState, Role
from app.queue.views import trouble
from app.runs.reasons import reason_of
from tests.support.factories import NOON, make_device, make_user


def test_devices_are_listed_by_name(session: Session) -> None:
    for name in ("cuda:1", "cpu", "cuda:0"):
        make_device(session, name)
    assert [device.name for device in queries.list_devices(session)] == ["cpu", "cuda:0", "cuda:1"]


def test_a_device_is_silent_after_ten_seconds(session: Session) -> None:
    device = make_device(session, heartbeat_at=NOON)
    assert not queries.is_silent(device, NOON + timedelta(seconds=10))
    assert queries.is_silent(device, NOON + timedelta(seconds=11))


@pytest.mark.parametrize(
    "values",
    [
        {"ready": False},
        {"state": DeviceState.DRAINED},
        {"state": DeviceState.PAUSED},
        {"telemetry": {"disk_free_bytes": 1}},
    ],
)
def test_not_every_device_that_lives_takes_runs(session: Session, values: dict[str, Any]) -> None:
    device = make_device(session, heartbeat_at=NOON, **values)
    assert not queries.takes_runs(device, NOON)


def test_an_admin_drains_a_device_and_it_is_written_down(session: Session) -> None:
    make_device(session)
    admin = make_user(session, role=Role.ADMIN)
    device = queries.set_state(session, admin, "cpu", DeviceState.DRAINED, "a new fan")
    session.flush()
    assert (device.state, device.state_reason) == (DeviceState.DRAINED, "a new fan")
    entry = session.scalars(select(AuditEntry)).one()
    assert (entry.action, entry.target, entry.actor_id) == ("device_drained", "cpu", admin.id)


def test_others_may_not(session: Session) -> None:
    make_device(session)
    with pytest.raises(Forbidden):
        queries.set_state(session, make_user(session), "cpu", DeviceState.DRAINED)


def test_an_unknown_device_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        queries.set_state(
            session, make_user(session, role=Role.ADMIN), "cuda:9", DeviceState.ACTIVE
        )


def test_resuming_a_device_forgets_its_fault(session: Session) -> None:
    make_device(session, state=DeviceState.DRAINED, fault=reason_of("Xid 79."))
    admin = make_user(session, role=Role.ADMIN)
    device = queries.set_state(session, admin, "cpu", DeviceState.ACTIVE)
    assert (device.state, device.fault) == (DeviceState.ACTIVE, None)


def test_beside_a_process_that_does_not_end_nothing_is_resumed(session: Session) -> None:
    fault = {**reason_of("It does not end."), "process": {"pid": 7}}
    make_device(session, state=DeviceState.DRAINED, fault=fault)
    admin = make_user(session, role=Role.ADMIN)
    for state in (DeviceState.ACTIVE, DeviceState.PAUSED):
        with pytest.raises(Conflict, match="does not end"):
            queries.set_state(session, admin, "cpu", state)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "active"),
        ({"canary_sent": 1}, "active"),
        ({"canary_sent": 2}, "deaf"),
        ({"ready": False}, "starting"),
        ({"telemetry": {"disk_free_bytes": 1}}, "disk_full"),
        ({"state": DeviceState.PAUSED, "heartbeat_at": NOON - timedelta(minutes=1)}, "silent"),
        ({"state": DeviceState.PAUSED}, "paused"),
        ({"heartbeat_at": NOON - timedelta(minutes=1)}, "silent"),
        ({"state": DeviceState.DRAINED, "canary_sent": 2}, "drained"),
        ({"state": DeviceState.DRAINED, "fault": {"message": "Xid 79."}}, "fault"),
    ],
)
def test_a_device_has_one_word_for_what_weighs_most(
    session: Session, values: dict[str, Any], status: str
) -> None:
    assert status_of(make_device(session, **values), NOON) == status


def test_what_takes_no_runs_says_why_and_what_does_says_nothing(session: Session) -> None:
    broken = (DeviceState.DRAINED, {"message": "Xid 79."})
    states = [*((state, None) for state in DeviceState), broken]
    for number, ((state, fault), ready, quiet, free) in enumerate(
        product(states, [True, False], [0, 60], [1, 1 << 50])
    ):
        device = make_device(
            session,
            f"cuda:{number}",
            state=state,
            ready=ready,
            heartbeat_at=NOON - timedelta(seconds=quiet),
            fault=fault,
            telemetry={"disk_free_bytes": free},
        )
        told = trouble(device, status_of(device, NOON))
        assert (told is None) == queries.takes_runs(device, NOON)


def test_a_broken_device_is_drained_without_a_person(session: Session) -> None:
    make_device(session)
    health.set_fault(session, "cpu", reason_of("The driver has lost the GPU."))
    entry = session.scalars(select(AuditEntry)).one()
    assert (entry.action, entry.actor_id) == ("device_fault", None)
    session.expire_all()
    assert queries.list_devices(session)[0].state is DeviceState.DRAINED
