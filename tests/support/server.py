"""A whole `bunsen up`, as a person would start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.settings import ROOT
from setup.commands import die_with_parent

READY, LINK = "Ready: ", "Link for "
PATIENCE_SECONDS = 120


@dataclass
class Server:
    """A running `bunsen up`: where it is, and a one-time link for each person."""

    process: subprocess.Popen[str]
    home: Path
    base_url: str = ""
    links: dict[str, str] = field(default_factory=dict)
    seconds_to_ready: float = 0.0

    def new_link(self, name: str) -> str:
        """A fresh one-time link, since one browser uses one up."""
        return command("user", "link", name, home=self.home).stdout.split()[-1]

    def new_token(self, name: str) -> str:
        """A fresh API token."""
        return command("token", "create", name, home=self.home).stdout.split()[-1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def running_server(
    home: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    words = [sys.executable, "-m", "app.cli", "up", "--port", "0", "--device", "cpu", *options]
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment_for(home, environment),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    server = Server(process, home)
    try:
        wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            server.stop()
        assert process.stdout is not None
        process.stdout.close()


def wait_until_ready(server: Server) -> None:
    started = time.monotonic()
    assert server.process.stdout is not None
    for line in server.process.stdout:
        name, _, link = line.removeprefix(LINK).strip().partition(": ")
        if line.startswith(LINK):
            server.links[name] = link
        if line.startswith(READY):
            server.links["admin"] = link
            server.base_url = link.partition("/enter/")[0]
            server.seconds_to_ready = time.monotonic() - started
            return
    logs = "\n".join(log.read_text()[-2000:] for log in (server.home / "logs").glob("*.log"))
    raise AssertionError(
        f"bunsen up ended with {server.process.wait()} before it was ready\n{logs}"
    )


def command(*words: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Any other `bunsen` command against the same data folder."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        cwd=ROOT,
        env=environment_for(home, environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def environment_for(home: Path, extra: Mapping[str, str] | None) -> dict[str, str]:
    """No BUNSEN_ setting of the person who runs the tests reaches the server under test."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BUNSEN_")}
    return {**ours, "BUNSEN_HOME": str(home), **(extra or {})}
