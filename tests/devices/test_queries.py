"""Devices: who may take them out of service, and when one counts as silent."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.devices import queries
from app.errors import Forbidden, NotFound
from app.models import AuditEntry, DeviceState, Role
from tests.support.factories import NOON, make_device, make_user


def test_devices_are_listed_by_name(session: Session) -> None:
    for name in ("cuda:1", "cpu", "cuda:0"):
        make_device(session, name)
    assert [device.name for device in queries.list_devices(session)] == ["cpu", "cuda:0", "cuda:1"]


def test_a_device_is_silent_after_ten_seconds(session: Session) -> None:
    device = make_device(session, heartbeat_at=NOON)
    assert not queries.is_silent(device, NOON + timedelta(seconds=10))
    assert queries.is_silent(device, NOON + timedelta(seconds=11))


@pytest.mark.parametrize("values", [{"ready": False}, {"state": DeviceState.DRAINED}])
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
