"""A whole dispatch as the housekeeper calls it, with ten thousand rows in a real database."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update

from app import broker, clock, database, migrate
from app.models import Dataset, Device, DeviceState, LanguageModel, Role, Run, RunState, User
from app.runs import dispatch, telling
from app.runs.world import read_world
from app.settings import get_settings
from benchmarks.decision import DEVICES, GIB, PEOPLE, SLOTS, queue, times_of
from benchmarks.report import Row, spread
from tests.support.postgres import running_postgres

NOBODY = "redis://127.0.0.1:9/0"


def measure() -> list[Row]:
    """10,000 waiting rows, 64 devices of 4 slots: the dispatch that runs each second."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bunsen-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        with _settings(home, f"sqlite:///{home / 'bunsen.db'}"):
            rows += _dispatches("SQLite")
        (home / "postgres").mkdir()
        with (
            running_postgres(home / "postgres") as server,
            _settings(home, server.url(server.create())),
        ):
            rows += _dispatches("Postgres")
    return rows


def _dispatches(name: str) -> list[Row]:
    migrate.upgrade(database.get_engine())
    _fill()
    first = _timed(dispatch.fill_devices)
    read = times_of(_read)
    idle = times_of(dispatch.fill_devices)
    moved = [_dispatch_after_an_end() for _ in range(7)]
    far = [_tell_all() for _ in range(3)]
    return [
        Row(f"{name}: places 64 runs, tells all", f"{first * 1000:.3g} ms", "–", "fill_devices, once"),
        Row(f"{name}: places one, tells 200", spread(moved, "ms", 1000), "–", "fill_devices"),
        Row(f"{name}: all devices full", spread(idle, "ms", 1000), "–", "fill_devices, CPU time"),
        Row(f"{name}: of it, reading the rows", spread(read, "ms", 1000), "–", "read_world, CPU time"),
        Row(f"{name}: all 10,000 told anew", spread(far, "ms", 1000), "–", "each 5 s and a tenth of the time at most"),
    ]  # fmt: skip


@contextmanager
def _settings(home: Path, url: str) -> Iterator[None]:
    chosen = {"BUNSEN_HOME": str(home), "BUNSEN_DATABASE_URL": url, "BUNSEN_BROKER_URL": NOBODY}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    _forget()
    yield
    _forget()
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value
    get_settings.cache_clear()


def _forget() -> None:
    database.reset()
    broker.reset()
    get_settings.cache_clear()
    telling.forget()


def _timed(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _read() -> None:
    with database.reading() as session:
        read_world(session, clock.now())


def _tell_all() -> float:
    with database.transaction() as session:
        session.execute(update(Run).values(position=0))
    with database.reading() as session:
        now = clock.now()
        decision = dispatch.decide(read_world(session, now), now)
    telling.forget()
    return _timed(lambda: telling.tell(decision.plan, now, decision.world.rules))


def _dispatch_after_an_end() -> float:
    with database.transaction() as session:
        one = session.scalar(select(Run.id).where(Run.state == RunState.ASSIGNED).limit(1))
        session.execute(update(Run).where(Run.id == one).values(state=RunState.SUCCEEDED))
    return _timed(dispatch.fill_devices)


def _fill() -> None:
    now = clock.now()
    model, dataset = UUID(int=1), UUID(int=2)
    with database.transaction() as session:
        session.add(LanguageModel(id=model, name="base", path="/", facts={}, created_at=now))
        session.add(
            Dataset(
                id=dataset, name="rows", format="text", path="/", sha256="0" * 64,
                bytes=1, rows=1, verdict={}, created_at=now,
            )
        )  # fmt: skip
        session.execute(insert(User), list(_people(now)))
        session.execute(insert(Device), list(_devices(now)))
        session.execute(insert(Run), list(_runs(model, dataset, now)))


def _people(now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(PEOPLE):
        yield {
            "id": UUID(int=number), "name": f"student-{number}", "role": Role.STUDENT,
            "created_at": now,
        }  # fmt: skip


def _devices(now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(DEVICES):
        yield {
            "name": f"cuda:{number}", "kind": "cuda", "title": "GPU", "host": "box",
            "memory_bytes": 24 * GIB, "slots": SLOTS, "ready": True, "state": DeviceState.ACTIVE,
            "heartbeat_at": now + timedelta(hours=1),
        }  # fmt: skip


def _runs(model: UUID, dataset: UUID, now: datetime) -> Iterator[dict[str, Any]]:
    for run in queue():
        yield {
            "id": run.run, "owner_id": run.owner, "name": "run", "lab": "lora",
            "code_version": "1", "stages": ["train"], "params": {}, "seed": 0,
            "base_model_id": model, "dataset_id": dataset, "estimate": {},
            "memory_bytes": 4 * GIB, "seconds_low": 60.0, "seconds_high": 1800.0,
            "state": RunState.QUEUED, "created_at": now, "queued_at": run.queued_at,
        }  # fmt: skip
