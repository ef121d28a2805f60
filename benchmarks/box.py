"""A whole Bunsen with a data folder of its own, to measure from outside."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Box:
    """A running Bunsen: where it answers, its data, and an admin's token."""

    url: str
    home: Path
    token: str
    entry: str
    seconds_to_ready: float

    def call(self, path: str, body: Any = None) -> Any:
        """One JSON request to the API as the admin."""
        request = urllib.request.Request(
            self.url + "/api/v1" + path,
            data=json.dumps(body).encode() if body is not None else None,
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def wait(self, run_id: str, seconds: float = 300) -> Any:
        """The run, once it is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.call(f"/runs/{run_id}")
            if run["state"] in ("succeeded", "failed", "cancelled", "held"):
                return run
            time.sleep(0.2)
        raise TimeoutError(f"run {run_id} is not over after {seconds} s")


def environment(home: Path | str) -> dict[str, str]:
    """What `./bunsen` hands on: another data folder, and compiled modules are kept."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "BUNSEN_HOME": str(home)}


def bunsen(home: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        cwd=ROOT, env=environment(home),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


@contextmanager
def running(home: Path | None = None) -> Iterator[Box]:
    """Start `bunsen up`, wait for its Ready line, and stop it at the end."""
    folder = home or Path(tempfile.mkdtemp(prefix="bunsen-bench-"))
    port, began = free_port(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "up", "--port", str(port)],
        cwd=ROOT, env=environment(folder),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        entry = next(line.split()[1] for line in process.stdout if line.startswith("Ready: "))
        seconds = time.perf_counter() - began
        token = bunsen(folder, "token", "create", "admin")
        yield Box(f"http://127.0.0.1:{port}", folder, token, entry, seconds)
    finally:
        process.terminate()
        process.wait(60)
        if home is None:
            shutil.rmtree(folder)
