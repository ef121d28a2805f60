"""Which worker owns which device of a machine."""

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import Conflict
from app.settings import Settings

LONGEST_HOST = 24


@contextmanager
def owned(settings: Settings, name: str) -> Iterator[None]:
    """One worker for a device of this machine; the kernel takes the claim back when it ends."""
    folder = settings.home / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{socket.gethostname()}-{name.replace(':', '-')}.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "A worker for {device} already runs on this machine (process {pid}). Stop it first.",
                device=name,
                pid=path.read_text() or "unknown",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def elsewhere(name: str) -> str:
    """The name of a device of this machine when another machine's has the plain one."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname().partition(".")[0]).strip("-")
    return f"{name}@{host[:LONGEST_HOST] or 'host'}"
