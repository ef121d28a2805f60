"""The page of devices, its acts, the banner, and the devices as JSON."""

from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.database import reading, transaction
from app.models import Device, DeviceState, RunState
from app.runs.reasons import reason_of
from tests.support.factories import make_device, make_run
from tests.support.site import Site

XID = {
    **reason_of("Xid {xid}: {reason}.", xid=79, reason="the GPU has fallen off the bus"),
    "action": "Reset the GPU.",
    "link": "https://docs.nvidia.com/",
}


def add(name: str = "cuda:0", **values: Any) -> None:
    with transaction() as session:
        make_device(session, name, **{"heartbeat_at": clock.now(), **values})


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "in service"),
        ({"state": DeviceState.PAUSED, "state_reason": "an exam"}, "an exam"),
        ({"state": DeviceState.DRAINED, "fault": XID}, "Xid 79: the GPU has fallen off the bus."),
        ({"state": DeviceState.DRAINED, "fault": XID}, "Reset the GPU."),
        ({"canary_sent": 5}, "deaf"),
    ],
)
def test_the_page_says_how_a_device_is(site: Site, values: dict[str, Any], word: str) -> None:
    add(**values)
    assert word in site.client("ada").get("/admin/devices").text


def test_the_page_says_how_long_ago_a_canary_was_heard(site: Site) -> None:
    add(canary_heard_at=clock.now() - timedelta(minutes=4))
    assert "4 min" in site.client("ada").get("/admin/devices").text


def test_a_run_shows_what_is_kept_for_it_and_what_it_takes(site: Site) -> None:
    with transaction() as session:
        run = make_run(
            session,
            site.people["sam"],
            name="a large one",
            state=RunState.RUNNING,
            device="cuda:0",
            estimate={"memory_bytes": 2 << 30},
        )
        figures = {str(run.id): {"memory_bytes": 1 << 30, "tasks": 17}}
    add(telemetry={"runs": figures})
    page = site.client("ada").get("/admin/devices").text
    assert "1 GiB now, 2 GiB kept" in page
    assert "17 threads" in page


def test_a_device_is_paused_with_a_reason(site: Site) -> None:
    add()
    paused = site.client("ada").post("/admin/devices/cuda:0/pause", data={"reason": "an exam"})
    assert paused.status_code == 303
    with reading() as session:
        device = session.get_one(Device, "cuda:0")
    assert (device.state, device.state_reason) == (DeviceState.PAUSED, "an exam")


def test_a_device_with_a_process_left_on_it_cannot_be_resumed(site: Site) -> None:
    fault = {**reason_of("It does not end."), "process": {"pid": 7}}
    add(state=DeviceState.DRAINED, fault=fault)
    admin = site.client("ada")
    assert "/resume" not in admin.get("/admin/devices").text
    assert admin.post("/admin/devices/cuda:0/resume").status_code == 409


def test_the_banner_stands_on_pages_of_admins_while_a_device_is_broken(site: Site) -> None:
    admin = site.client("ada")
    assert "out of service" not in admin.get("/admin/devices/banner").text
    add(state=DeviceState.DRAINED, fault=XID)
    assert "cuda:0 is out of service" in admin.get("/admin/devices/banner").text
    assert "/admin/devices/banner" in admin.get("/admin/people").text
    assert site.client("sam").get("/admin/devices/banner").status_code == 403


def test_the_devices_as_json(site: Site) -> None:
    with transaction() as session:
        make_run(
            session,
            site.people["sam"],
            state=RunState.RUNNING,
            device="cuda:0",
            estimate={"memory_bytes": 2 << 30},
        )
    add(state=DeviceState.DRAINED, fault=XID, canary_sent=5, telemetry={"runs": {"x": {}}})
    (device,) = site.script("ada").get("/api/v1/devices").json()["devices"]
    assert (device["state"], device["deaf"], device["silent"]) == ("drained", True, False)
    assert device["fault"]["text"] == "Xid 79: the GPU has fallen off the bus."
    assert device["memory_reserved_bytes"] == 2 << 30
    assert "runs" not in device["telemetry"]
