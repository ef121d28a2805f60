"""Postgres and Redis as a test may kill, freeze and start them again, data and all."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from app.embedded import Broker, embedded_broker
from app.settings import Settings
from setup.commands import die_with_parent
from tests.faults.patience import eventually
from tests.support.postgres import Postgres, find_binaries, unprivileged

# What was committed must survive the death of every process; the disk itself never fails here.
OPTIONS = ("listen_addresses=", "fsync=off", "synchronous_commit=on", "max_connections=100")


@dataclass
class PostgresServer:
    """A server of the matrix's own; the one of the other tests is left alone."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.databases = Postgres(self.folder)
        self.binaries = find_binaries(self.folder)
        self.account = unprivileged()
        if self.account:
            os.chown(self.folder, self.account["user"], self.account["group"])
        create = [str(self.binaries / "initdb"), "--no-sync", "-U", "postgres", "--auth=trust"]
        subprocess.run(
            [*create, "-D", str(self.folder / "data")],
            cwd=self.folder, check=True, capture_output=True, **self.account,
        )  # fmt: skip

    def start(self) -> None:
        options = [word for option in OPTIONS for word in ("-c", option)]
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data")]
        with (self.folder / "postgres.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "-k", str(self.folder), *options],
                cwd=self.folder, stdout=log, stderr=log, preexec_fn=die_with_parent,
                **self.account,
            )  # fmt: skip
        eventually(self.answers, "Postgres does not answer")

    def ensure(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.databases.conninfo).close()
            return True
        return False

    def stop(self, number: signal.Signals) -> None:
        """SIGINT is its fast shutdown, SIGQUIT its immediate one."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=60)

    def kill(self) -> None:
        """As a power cut does: every process of it at once."""
        if self.process is None or self.process.poll() is not None:
            return
        family = [*psutil.Process(self.process.pid).children(recursive=True)]
        self.process.kill()
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait(timeout=60)
        psutil.wait_procs(family, timeout=10)

    def cut_connections(self) -> None:
        """As an administrator or a firewall does."""
        with psycopg.connect(self.databases.conninfo, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )


@dataclass
class RedisServer:
    """The embedded broker of a box."""

    home: Path
    process: subprocess.Popen[bytes] | None = None
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        self.broker = embedded_broker(Settings(home=self.home))
        assert self.broker.command, "no redis-server here, and no wheel brought one"

    def start(self) -> None:
        with (self.home / "redis.log").open("a") as log:
            self.process = subprocess.Popen(
                self.broker.command, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        eventually(self.broker.answers, "Redis does not answer")

    def ensure(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)

    def empty(self) -> None:
        """What it held is gone, as after a restart without its file."""
        self.kill()
        self.broker.forget()
        self.start()

    def flush(self) -> None:
        import redis

        client = redis.Redis(unix_socket_path=str(self.broker.socket))
        client.flushall()
        client.close()
