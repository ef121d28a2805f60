"""Real workers in processes of their own, on a real database and a real Redis."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import broker, database
from app.database import reading, transaction
from app.models import Device, Run, RunState
from app.settings import ROOT, get_settings
from tests.support.factories import make_run

PATIENCE_SECONDS = 60.0


def eventually(holds: Callable[[], Any], why: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Poll until something is true; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{why}, even after {seconds:.0f} s"
        time.sleep(0.02)
    return found


@dataclass
class Worker:
    """A device worker with scripted trainers, and what a test wants to know of it."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str = "cpu"

    def wait_until_ready(self) -> None:
        eventually(self._is_ready, "the worker is not ready")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with reading() as session:
            device = session.get(Device, self.name)
            return bool(device and device.ready and device.pid == self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = 30) -> int:
        self.process.terminate()
        return self.process.wait(timeout=seconds)


def start_process(module: str, *words: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            env={**os.environ, "HF_TOKEN": "hf_canary"},
            stdout=output,
            stderr=output,
        )


@dataclass
class Bench:
    """Starts workers and runs."""

    folder: Path
    workers: list[Worker]

    def start_worker(self, module: str = "tests.workers.scripted", name: str = "cpu") -> Worker:
        log = self.folder / "worker.log"
        words = ["cpu"] if name == "cpu" else ["cpu", name]
        worker = Worker(start_process(module, *words, log=log), log, name)
        self.workers.append(worker)
        worker.wait_until_ready()
        return worker

    def queue_run(self, **script: Any) -> UUID:
        with transaction() as session:
            run = make_run(session, params=script, estimate={"memory_bytes": 1 << 20})
            return run.id


def run_of(run_id: UUID) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def wait_for(run_id: UUID, *states: RunState) -> Run:
    """Wait until the run is in one of these states; returns it."""
    found: Run = eventually(
        lambda: (run := run_of(run_id)).state in states and run,
        f"run {run_id} did not become {' or '.join(states)}: {run_of(run_id).state}",
    )
    return found


@pytest.fixture
def settings_for_workers(
    request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quick leases, two slots; SQLite unless the test asks for another database."""
    url = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")
    monkeypatch.setenv("BUNSEN_DATABASE_URL", url)
    monkeypatch.setenv("BUNSEN_BROKER_URL", redis_url)
    monkeypatch.setenv("BUNSEN_DEVICE_SLOTS", "2")
    monkeypatch.setenv("BUNSEN_STOP_GRACE", "PT4S")
    monkeypatch.setenv("BUNSEN_LEASE", "PT3S")
    database.reset()
    get_settings.cache_clear()
    broker.reset()


@pytest.fixture
def bench(settings_for_workers: None, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, [])
    yield made
    for worker in made.workers:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait(timeout=10)
