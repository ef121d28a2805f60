"""The event log of a run: one line, one `write`, one event. Imports no torch."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labs.contract import Json

FILE = "events.jsonl"
PROGRESS_SECONDS = 0.2
Listener = Callable[[Json], None]


class EventLog:
    """Appends the events of one attempt to `events.jsonl`.

    Every event is a single `write` to a file opened for appending, so a killed process
    leaves whole lines, and at most one torn line at the end.
    """

    def __init__(self, run_dir: Path, attempt: int, listener: Listener | None = None) -> None:
        path = run_dir / FILE
        self._attempt = attempt
        self._listener = listener
        self._progress_at = -math.inf
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if _ends_torn(path):
            os.write(self._file, b"\n")

    def write(self, kind: str, **fields: Any) -> None:
        """Append one event; not-a-number and infinities become strings."""
        event = {"kind": kind, "attempt": self._attempt, "t": time.time(), **_plain(fields)}
        line = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        _write_all(self._file, line.encode() + b"\n")
        if self._listener:
            self._listener(event)

    def progress(self, stage: str, done: float, total: float, note: str) -> None:
        """Append a progress event, at most five a second but for the last of a stage."""
        now = time.monotonic()
        if done < total and now - self._progress_at < PROGRESS_SECONDS:
            return
        self._progress_at = now
        self.write("progress", stage=stage, done=done, total=total, note=note)

    def sync(self) -> None:
        """Force what was written onto the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Sync and close; nothing can be written afterwards."""
        self.sync()
        os.close(self._file)


def read_events(run_dir: Path) -> Iterator[Json]:
    """All whole events of a run directory, in order; a torn line is passed over."""
    path = run_dir / FILE
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "kind" in event:
                yield event


def number(value: float) -> float | str:
    """A float as JSON can hold it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _write_all(file: int, line: bytes) -> None:
    """One write, unless the disk takes only part of it; then the rest or the reason."""
    while line:
        line = line[os.write(file, line) :]


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
