"""The queue with ten thousand runs in the database."""

import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from app import migrate
from app.database import get_engine
from app.models import RunState
from benchmarks.box import ROOT, environment, free_port
from benchmarks.crowd import fill, own_run
from benchmarks.history import database_of
from benchmarks.report import Row
from tests.support.postgres import running_postgres

RUNS, ASKED = 10_000, 100
LIMIT = "p95 50 ms"
STUDENT = "student-0-0"


@dataclass(frozen=True)
class Web:
    """A web process and where it answers."""

    port: int
    process: psutil.Process

    def busy(self) -> float:
        """Seconds of processor time it has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


def measure() -> list[Row]:
    """Queue page and API with 10,000 runs, over HTTP from a web process, on SQLite and Postgres."""
    with tempfile.TemporaryDirectory(prefix="bunsen-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        for name in ("waiting", "finished", "postgres"):
            (home / name).mkdir()
        rows = _site("SQLite", home / "waiting", "", RunState.QUEUED, "waiting")
        rows += _site("SQLite", home / "finished", "", RunState.SUCCEEDED, "finished")
        with running_postgres(home / "postgres") as server:
            url = server.url(server.create())
            rows += _site("Postgres", home / "waiting", url, RunState.QUEUED, "waiting")
    return rows


def _site(database: str, home: Path, url: str, state: RunState, name: str) -> list[Row]:
    with database_of(home, url):
        migrate.upgrade(get_engine())
        tokens = fill(RUNS, state)
        paths = _paths(own_run(STUDENT) if state is RunState.QUEUED else "")
        with _web(home) as web:
            return [
                _row(f"{database}, {RUNS:,} {name}, {what}", web, path, who, tokens[who], block)
                for what, path, who, block in paths
            ]


def _paths(run: str) -> list[tuple[str, str, str, bool]]:
    everybody = [
        ("page", "/queue", "student", False),
        ("page", "/queue", "instructor", False),
        ("page", "/queue", "admin", False),
        ("its refresh", "/queue", "student", True),
        ("API", "/api/v1/queue", "student", False),
        ("API", "/api/v1/queue", "instructor", False),
        ("API", "/api/v1/queue", "admin", False),
        ("API, everybody's turns", "/api/v1/queue/line", "student", False),
    ]
    far = [
        ("page far back", "/queue?cursor=9000.0", "student", False),
        ("status of a waiting run", f"/runs/{run}?part=status", "student", True),
        ("terms of its turn", f"/runs/{run}/turn", "student", True),
        ("an answer without the queue", "/healthz", "student", False),
    ]
    return everybody + (far if run else [])


def _row(what: str, web: Web, path: str, who: str, token: str, block: bool) -> Row:
    seconds, busy = _times(web, path, token, block)
    p50 = 1000 * statistics.median(seconds)
    p95 = 1000 * statistics.quantiles(seconds, n=20)[-1]
    measured = f"p50 {p50:.1f} ms, p95 {p95:.1f} ms (n={len(seconds)})"
    limit = LIMIT if "queue" in path else "–"
    return Row(
        what, measured, limit, f"as {who}; {1000 * busy:.1f} ms of processor each; {_crowd()}"
    )


def _crowd() -> str:
    """How many processes wanted a core in this minute, others' included."""
    return f"load {os.getloadavg()[0] / (os.cpu_count() or 1):.1f} a core"


def _times(web: Web, path: str, token: str, block: bool) -> tuple[list[float], float]:
    """Seconds of each request after the first few, and of the web process's work for one."""
    headers = {"Authorization": f"Bearer {token}", **({"HX-Request": "true"} if block else {})}
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    for _ in range(5):
        _ask(connection, path, headers)
    before = web.busy()
    found = [_ask(connection, path, headers) for _ in range(ASKED)]
    busy = (web.busy() - before) / ASKED
    connection.close()
    return found, busy


def _ask(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> float:
    began = time.perf_counter()
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    reply.read()
    if reply.status != 200:
        raise RuntimeError(f"{path}: {reply.status}")
    return time.perf_counter() - began


@contextmanager
def _web(home: Path) -> Iterator[Web]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "web", "--port", str(port)],
        cwd=ROOT, env={**os.environ, **environment(home)},
    )  # fmt: skip
    try:
        _wait(port)
        yield Web(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int) -> None:
    for _ in range(6000):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"port {port}")
