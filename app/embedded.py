"""The embedded broker: a real Redis of our own, or a folder where there is none.

A message only rings a bell, so its loss costs a second and never a run. That is why a damaged
file of the broker may be thrown away, and why a polled folder is good enough as a last resort.
"""

import contextlib
import hashlib
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings
from setup.programs import find_redis

LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach the broker, and the command that serves it (none for a folder)."""

    url: str
    folder: Path
    socket: Path | None = None
    command: tuple[str, ...] = ()

    def answers(self) -> bool:
        """Whether it answers a ping."""
        if self.socket is None:
            return True
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(0.5)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def forget(self) -> None:
        """Throws its files away: they hold nothing but bells."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)


def embedded_broker(settings: Settings) -> Broker:
    """Prepares the private folder of the broker; starting it is the supervisor's work."""
    path = _short(settings.embedded_broker_socket)
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    redis = find_redis()
    if redis is None:
        return Broker(f"filesystem://{folder}", folder)
    return Broker(f"redis+socket://{path}", folder, path, _redis_command(redis, path))


def _short(path: Path) -> Path:
    if len(str(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"bunsen-{name}" / path.name


def _redis_command(redis: str, path: Path) -> tuple[str, ...]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(path.parent),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return (redis, *(word for name, value in options.items() for word in (f"--{name}", value)))
