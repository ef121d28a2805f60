"""What a worker says of its device, and what it keeps from its trainers."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select, update

from app.database import reading, transaction
from app.errors import Conflict
from app.models import AuditEntry, Device, DeviceState
from app.runs.reasons import reason_of
from app.settings import get_settings
from workers import hardware, memory, orphans
from workers.claims import elsewhere, owned
from workers.desk import Desk
from workers.device import slots_of
from workers.duty import Duty
from workers.lookout import Lookout
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

    def fault(self) -> dict[str, Any] | None:
        return None


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
    assert row().telemetry["temperature_celsius"] == 41
    assert row().telemetry["disk_free_bytes"] > 0


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


@pytest.fixture
def living_elsewhere(database_url: str) -> Iterator[None]:
    """A worker on another machine that has the name `cuda:0` and goes on beating."""
    Presence("cuda:0", FakeGpu(), slots=4).register()
    change(host="another-machine", ready=True)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.05):
            change(heartbeat=Device.heartbeat + 1)

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    over.set()
    thread.join()


def test_a_living_worker_elsewhere_keeps_its_name(living_elsewhere: None) -> None:
    here = Presence("cuda:0", FakeGpu(), slots=4)
    here.register()
    assert here.name == elsewhere("cuda:0")
    assert row().host == "another-machine"
    with reading() as session:
        assert session.get_one(Device, here.name).host == socket.gethostname()


def test_a_name_that_was_asked_for_is_never_changed(living_elsewhere: None) -> None:
    with pytest.raises(Conflict, match="another-machine"):
        Presence("cuda:0", FakeGpu(), slots=4).register(may_rename=False)


def test_the_name_of_a_worker_that_is_dead_is_taken_over(database_url: str) -> None:
    Presence("cuda:0", FakeGpu(), slots=4).register()
    change(host="another-machine", ready=True)
    here = Presence("cuda:0", FakeGpu(), slots=4, patience_seconds=0.1)
    here.register()
    assert (here.name, row().host) == ("cuda:0", socket.gethostname())


def test_a_new_boot_of_the_machine_is_noticed(database_url: str) -> None:
    Presence("cuda:0", FakeGpu(), slots=4).register()
    change(boot_id="an earlier one")
    again = Presence("cuda:0", FakeGpu(), slots=4, patience_seconds=0.1)
    again.register()
    assert again.was_restarted


def test_the_settings_cap_what_runs_may_take(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_DEVICE_MEMORY", str(5 << 30))
    get_settings.cache_clear()
    Presence("cuda:0", FakeGpu(), slots=4).register()
    assert (row().memory_bytes, row().facts["memory_total_bytes"]) == (5 << 30, 80 << 30)


def test_a_broken_device_takes_itself_out_of_service(database_url: str) -> None:
    duty = Duty()
    presence = Presence("cuda:0", FakeGpu(), slots=4, duty=duty)
    presence.register()
    duty.break_down(reason_of("The driver has lost the GPU."))
    presence.set_ready(True)
    presence.set_ready(True)
    assert row().state is DeviceState.DRAINED
    assert row().fault == reason_of("The driver has lost the GPU.")
    assert not duty.takes_runs
    with reading() as session:
        entry = session.scalars(select(AuditEntry)).one()
    assert (entry.action, entry.target, entry.actor_id) == ("device_fault", "cuda:0", None)


def test_a_repaired_device_takes_runs_again(database_url: str) -> None:
    duty = Duty()
    presence = Presence("cuda:0", FakeGpu(), slots=4, duty=duty)
    presence.register()
    duty.break_down(reason_of("The driver has lost the GPU."))
    presence.set_ready(True)
    lookout = Lookout("cuda:0", duty, Desk(1, lambda *_: None))
    lookout.look()
    assert not duty.takes_runs
    change(state=DeviceState.ACTIVE, fault=None)
    lookout.look()
    assert duty.takes_runs


def test_a_canary_that_was_heard_is_told_with_the_next_beat(database_url: str) -> None:
    duty = Duty()
    presence = Presence("cuda:0", FakeGpu(), slots=4, duty=duty)
    presence.register()
    change(canary_sent=3)
    lookout = Lookout("cuda:0", duty, Desk(1, lambda *_: None))
    lookout.look()
    assert lookout.is_deaf
    duty.hear(3)
    duty.hear(2)
    presence.set_ready(True)
    assert row().canary_heard == 3
    assert row().canary_heard_at is not None
    lookout.look()
    assert not lookout.is_deaf


def test_a_new_worker_is_not_deaf_because_the_last_one_was(database_url: str) -> None:
    Presence("cuda:0", FakeGpu(), slots=4).register()
    change(canary_sent=9)
    Presence("cuda:0", FakeGpu(), slots=4).register()
    assert row().canary_heard == 9


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


def test_memory_that_grows_is_counted_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(memory, "COUNT_SECONDS", 3600.0)
    watch = MemoryWatch(psutil.Process().pid, hardware.Cpu())
    watch.sample()
    before = watch.used
    kept = b"x" * round(max(64 << 20, 2 * memory.MOVED * psutil.Process().memory_info().rss))
    watch.sample()
    assert watch.used - before > len(kept) / 2


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
