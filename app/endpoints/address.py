"""Where a serving run's trainer listens: `endpoint.json` of its run directory, read with suspicion.

A trainer runs what people configure, so nothing in the file is taken on trust: only an http
address of a machine that the settings name is ever spoken to.
"""

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from app.settings import get_settings

FILE = "endpoint.json"
LARGEST = 16 << 10
SECRET = re.compile(r"[!-~]{16,256}")
FIRST_PORT = 1024


@dataclass(frozen=True, slots=True)
class Front:
    """The trainer's server: where it is, what it asks for, what it serves."""

    address: str
    secret: str
    model: str
    engine: str

    def __repr__(self) -> str:
        return f"Front({self.address})"  # the secret stays out of logs and traces


def front_of(run_id: UUID, attempt: int) -> Front | None:
    """The server that this attempt at a run has opened; None without one, or one to distrust."""
    told = _read(run_id)
    if told is None or told.get("attempt") != attempt:
        return None
    address, secret = str(told.get("address", "")), str(told.get("secret", ""))
    if not _is_allowed(address) or SECRET.fullmatch(secret) is None:
        return None
    model, engine = (str(told.get(name, ""))[:200] for name in ("model", "engine"))
    return Front(address.rstrip("/"), secret, model, engine)


def hosts() -> frozenset[str]:
    """The machines whose trainers are spoken to."""
    settings = get_settings()
    named = [settings.serve_host, *settings.serve_hosts.split(",")]
    return frozenset(name.strip().lower() for name in named if name.strip())


def _read(run_id: UUID) -> dict[str, Any] | None:
    path = get_settings().run_dir(run_id) / FILE
    try:
        told = json.loads(_content(path))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _content(path: Path) -> bytes:
    """Of a plain file alone: neither a link out of the folder nor a pipe that never ends."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(handle, LARGEST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)


def _is_allowed(address: str) -> bool:
    try:
        parts = urlsplit(address)
        port = parts.port or 0
    except ValueError:
        return False
    bare = f"http://{parts.netloc}"
    return (
        address in (bare, bare + "/")
        and "@" not in parts.netloc
        and (parts.hostname or "") in hosts()
        and port >= FIRST_PORT
    )
