"""What a worker says of its device, and what it keeps from its trainers."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import update

from app.database import reading, transaction
from app.errors import Conflict
from app.models import Device, DeviceState
from app.settings import get_settings
from workers import hardware, orphans
from workers.device import owned, slots_of
from workers.memory import MemoryWatch
from workers.presence import Presence
from workers.trainers import scrub, trainer_environment


class FakeGpu:
    """A GPU of which a test decides what it says."""

    kind = "cuda"
    title = "NVIDIA H100"
    memory_bytes = 80 << 30
    visible = "GPU-1234"

    def __init__(self, used: int | None = None) -> None:
        self.used = used

    def facts(self) -> dict[str, Any]:
        return {"compute_capability": [9, 0]}

    def telemetry(self) -> dict[str, Any]:
        return {"temperature_celsius": 41}

    def process_bytes(self, pids: Iterable[int]) -> int | None:
        return self.used


def row() -> Device:
    with reading() as session:
        return session.get_one(Device, "cuda:0")


def change(**values: Any) -> None:
    with transaction() as session:
        session.execute(update(Device).values(values))


def test_a_device_is_registered_before_it_is_ready(database_url: str) -> None:
    presence = Presence("cuda:0", FakeGpu(), slots=4)
    presence.register()
    found = row()
    assert (found.kind, found.title, found.slots, found.ready) == ("cuda", "NVIDIA H100", 4, False)
    assert found.facts["compute_capability"] == [9, 0]
    presence.set_ready(True)
    assert row().ready
    assert row().telemetry == {"temperature_celsius": 41}


def test_a_heartbeat_counts_on_and_ends_with_the_worker(database_url: str) -> None:
    presence = Presence("cuda:0", FakeGpu(), slots=4)
    presence.register()
    first = row().heartbeat
    with presence.told_regularly():
        presence.set_ready(True)
    assert row().heartbeat > first + 1
    assert not row().ready


def test_a_drained_device_stays_drained_when_its_worker_comes_back(database_url: str) -> None:
    Presence("cuda:0", FakeGpu(), slots=4).register()
    change(state=DeviceState.DRAINED)
    Presence("cuda:0", FakeGpu(), slots=4).register()
    assert row().state is DeviceState.DRAINED


def test_a_living_worker_elsewhere_keeps_its_device(database_url: str) -> None:
    presence = Presence("cuda:0", FakeGpu(), slots=4)
    presence.register()
    presence.set_ready(True)
    change(host="another-machine")
    with pytest.raises(Conflict, match="another-machine"):
        Presence("cuda:0", FakeGpu(), slots=4).register()


def test_a_device_has_one_owner_on_a_machine(home: Path) -> None:
    settings = get_settings()
    with (
        owned(settings, "cpu"),
        pytest.raises(Conflict, match="already runs on this machine"),
        owned(settings, "cpu"),
    ):
        pass
    with owned(settings, "cpu"):
        pass


def test_the_cpu_takes_no_more_runs_than_it_has_cores() -> None:
    settings = get_settings()
    assert slots_of(hardware.Cpu(), settings) == min(settings.device_slots, hardware.cores())
    assert slots_of(FakeGpu(), settings) == settings.device_slots


def test_trainers_do_not_inherit_secrets() -> None:
    given = {
        "BUNSEN_DATABASE_URL": "postgresql://user:password@box/bunsen",
        "HF_TOKEN": "hf_canary",
        "PGPASSWORD": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "MY_API_KEY": "x",
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
    }
    assert scrub(given) == {"PATH": "/usr/bin", "LANG": "C.UTF-8"}


def test_a_trainer_sees_its_device_alone() -> None:
    environment = trainer_environment("GPU-1234", threads=3, online=False)
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-1234"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert (environment["OMP_WAIT_POLICY"], environment["OMP_NUM_THREADS"]) == ("passive", "3")
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_the_cpu_says_what_it_is() -> None:
    cpu = hardware.find("cpu")
    assert cpu.memory_bytes > 1 << 28
    assert cpu.facts()["cores"] >= 1
    assert 0 <= cpu.telemetry()["memory_used_bytes"] <= cpu.telemetry()["memory_total_bytes"]


def test_memory_is_the_devices_where_it_says_so_and_the_hosts_on_the_cpu() -> None:
    this = psutil.Process().pid
    on_gpu, silent, on_cpu = (
        MemoryWatch(this, FakeGpu(used=5 << 30)),
        MemoryWatch(this, FakeGpu()),
        MemoryWatch(this, hardware.Cpu()),
    )
    for watch in (on_gpu, silent, on_cpu):
        watch.sample()
    assert (on_gpu.peak, silent.peak) == (5 << 30, None)
    assert on_cpu.peak is not None
    assert on_cpu.peak > 1 << 20


class TestOrphans:
    def test_a_trainer_that_was_left_is_ended(self, tmp_path: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        orphans.note(tmp_path, process.pid)
        assert orphans.end_trainer(tmp_path)
        process.wait(timeout=10)
        assert not psutil.pid_exists(process.pid)
        assert not orphans.end_trainer(tmp_path)

    @pytest.mark.parametrize("change", [{"boot": "another"}, {"started": 1.0}])
    def test_another_process_with_its_number_is_left_alone(
        self, tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        orphans.note(tmp_path, process.pid)
        noted = tmp_path / orphans.FILE
        noted.write_text(json.dumps({**json.loads(noted.read_text()), **change}))
        assert not orphans.end_trainer(tmp_path)
        assert process.poll() is None
        process.kill()
        process.wait(timeout=10)
