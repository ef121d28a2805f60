"""The queue with ten thousand runs in the database."""

import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.models import RunState
from benchmarks.box import ROOT, environment, free_port
from benchmarks.crowd import fill, own_run
from benchmarks.history import database_of
from benchmarks.report import Row

RUNS, ASKED = 10_000, 60
LIMIT = "p95 50 ms"
STUDENT = "student-0-0"


def measure() -> list[Row]:
    """Queue page and API with 10,000 runs, over HTTP from a web process on SQLite."""
    return [*_site(RunState.QUEUED, "waiting"), *_site(RunState.SUCCEEDED, "finished")]


def _site(state: RunState, name: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        command = [sys.executable, "-m", "app.cli", "db", "upgrade"]
        subprocess.run(command, cwd=ROOT, env=environment(home), check=True)
        with database_of(home):
            tokens = fill(RUNS, state)
            paths = _paths(own_run(STUDENT) if state is RunState.QUEUED else "")
        with _web(home) as port:
            rows = [
                _row(f"{RUNS:,} {name}, {what}", _times(port, path, tokens[who], block), who)
                for what, path, who, block in paths
            ]
    return rows


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
    ]
    return everybody + (far if run else [])


def _row(what: str, seconds: Sequence[float], who: str) -> Row:
    p50 = 1000 * statistics.median(seconds)
    p95 = 1000 * statistics.quantiles(seconds, n=20)[-1]
    measured = f"p50 {p50:.1f} ms, p95 {p95:.1f} ms (n={len(seconds)})"
    limit = "–" if "status" in what or "terms" in what else LIMIT
    return Row(what, measured, limit, f"as {who}, one connection")


def _times(port: int, path: str, token: str, block: bool) -> list[float]:
    """Seconds of each request, the first ten left out."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", **({"HX-Request": "true"} if block else {})}
    found = []
    for _ in range(ASKED + 10):
        began = time.perf_counter()
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        reply.read()
        found.append(time.perf_counter() - began)
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status}")
    connection.close()
    return found[10:]


@contextmanager
def _web(home: Path) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "web", "--port", str(port)],
        cwd=ROOT, env={**os.environ, **environment(home)},
    )  # fmt: skip
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int) -> None:
    for _ in range(1000):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"port {port}")
