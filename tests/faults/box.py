"""A whole GPU box as processes of its own: each role can be killed, frozen and started again."""

import os
import signal
import socket
import sqlite3
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.accounts import people
from app.children import Child
from app.database import reading, transaction
from app.models import Device, DeviceState, Role, Run, User
from app.settings import ROOT, get_settings
from app.up import Address, web_is_ready
from tests.faults.patience import START_SECONDS, eventually
from tests.faults.servers import PostgresServer, RedisServer
from tests.faults.trainer import STAGES
from tests.support.factories import make_run
from tests.support.processes import is_alive

DEVICE = "cpu"
# Short, so that a cell is; long enough that two busy cores renew them in time.
QUICK = {
    "BUNSEN_DEVICE_SLOTS": "2",
    "BUNSEN_LEASE": "PT4S",
    "BUNSEN_STOP_GRACE": "PT4S",
    "BUNSEN_NO_PROGRESS": "PT8S",
    "BUNSEN_MIN_FREE_BYTES": "1",
}


@dataclass
class RoleProcess:
    """One role of the box. Whoever freezes it gives a name, and only the last one thaws it."""

    child: Child
    holders: set[str] = field(default_factory=set)
    # What it had started, as last seen: these must not outlive it.
    family: list[psutil.Process] = field(default_factory=list)

    @property
    def is_up(self) -> bool:
        return bool(self.child.pid) and self.child.code is None

    def start(self) -> None:
        self.holders.clear()
        self.child.start()

    def kill(self) -> None:
        """The main process alone, as the kernel does it."""
        if self.is_up:
            self.family += descendants(self.child.pid)
            os.kill(self.child.pid, signal.SIGKILL)
            self.child.collect()

    def freeze(self, holder: str) -> None:
        self.holders.add(holder)
        if self.is_up:
            os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self, holder: str) -> None:
        self.holders.discard(holder)
        if self.is_up and not self.holders:
            os.kill(self.child.pid, signal.SIGCONT)

    def ensure(self) -> None:
        for holder in list(self.holders):
            self.thaw(holder)
        if not self.is_up:
            self.start()

    def left_behind(self) -> list[psutil.Process]:
        return [process for process in self.family if is_alive(process)]


@dataclass
class Box:
    """Where runs of the matrix live. `trainer` names the module of its device worker."""

    home: Path
    database_url: str
    postgres: PostgresServer | None = None
    trainer: str = "tests.faults.trainer"

    def __post_init__(self) -> None:
        self.redis = RedisServer(self.home)
        self.port = free_port()
        web = ("-m", "app.cli", "web", "--host", "127.0.0.1", "--port", str(self.port))
        self.web = self._role("web", *web)
        self.worker = self._role("worker", "-m", self.trainer, DEVICE)
        self.housekeeper = self._role("housekeeper", "-m", "tests.workers.keeper")
        self.token = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this box finds, and what a test must have to look into it."""
        return {
            "BUNSEN_HOME": str(self.home),
            "BUNSEN_DATABASE_URL": self.database_url,
            "BUNSEN_BROKER_URL": self.redis.broker.url,
            **QUICK,
        }

    def _role(self, name: str, *words: str) -> RoleProcess:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("BUNSEN_")}
        environment = {**ours, **self.environment, "PYTHONPATH": str(ROOT)}
        log = self.home / "logs" / f"{name}.log"
        return RoleProcess(Child(name, [sys.executable, *words], environment, log))

    @property
    def roles(self) -> tuple[RoleProcess, ...]:
        return (self.web, self.worker, self.housekeeper)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ensure(self) -> None:
        """Everything is up, well and open for runs, whatever was done to it."""
        if self.postgres is not None:
            self.postgres.ensure()
        self.redis.ensure()
        for role in self.roles:
            role.ensure()
        self.wait_for_the_worker()
        eventually(self.web_is_ready, "the web server is not ready", START_SECONDS)
        self.set_device(DeviceState.ACTIVE)

    def wait_for_the_worker(self) -> None:
        """Nobody's patience begins before it has imported what trainers need."""
        eventually(self.worker_is_ready, "the worker is not ready", START_SECONDS)

    def worker_is_ready(self) -> bool:
        assert self.worker.is_up, self.worker.child.tail(40)
        with reading() as session:
            device = session.get(Device, DEVICE)
            return bool(device and device.ready and device.pid == self.worker.child.pid)

    def web_is_ready(self) -> bool:
        return web_is_ready(Address("127.0.0.1", self.port))

    def set_device(self, state: DeviceState) -> bool:
        """Pause or open the device; true, so that it can be tried until the database takes it."""
        with transaction() as session:
            session.get_one(Device, DEVICE).state = state
        return True

    def freeze(self, role: RoleProcess, holder: str) -> None:
        """Stop a role, but not while it holds a lock: then everybody would stand still with it."""
        role.freeze(holder)
        while not self._is_free():
            role.thaw(holder)
            role.freeze(holder)

    def _is_free(self) -> bool:
        if self.postgres is None:
            file = self.database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(file, isolation_level=None, timeout=0.5)) as connection:
                with suppress(sqlite3.OperationalError):
                    connection.execute("BEGIN IMMEDIATE")
                    return True
                return False
        with suppress(OperationalError), reading() as session:
            session.execute(select(Run.id).with_for_update(nowait=True))
            session.execute(select(Device.name).with_for_update(nowait=True))
            return True
        return False

    def person(self) -> User:
        """The owner of all runs, made once, with a token for the API."""
        with transaction() as session:
            user = people.find_user(session, "sam")
            if user is None:
                user = people.add_user(session, "sam", Role.STUDENT)
            if not self.token:
                self.token = people.create_api_token(session, user)
            return user

    def queue_run(self, **values: Any) -> UUID:
        owner = self.person()
        with transaction() as session:
            given = {"stages": list(STAGES), "estimate": {"memory_bytes": 1 << 20}, **values}
            return make_run(session, session.get_one(User, owner.id), **given).id

    def run(self, run_id: UUID) -> Run:
        with reading() as session:
            return session.get_one(Run, run_id)

    def run_dir(self, run_id: UUID) -> Path:
        return get_settings().run_dir(run_id)

    def left_behind(self) -> list[psutil.Process]:
        return [process for role in self.roles for process in role.left_behind()]

    def stop(self) -> None:
        """The end of the box: whatever is left of it is killed."""
        for role in self.roles:
            role.child.signal(signal.SIGKILL)
            if role.child.process:
                role.child.collect()
        self.redis.kill()


def descendants(pid: int) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    return found


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
