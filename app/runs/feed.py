"""What is new in a run, read once for everybody who watches it.

One poller a run looks every 0.4 s while somebody listens. A listener asks for what came
after its own cursor; listeners at the same cursor share one reading. Nothing is queued
for anybody, so a slow reader costs no memory: it gets one larger batch when it asks.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi.sse import format_sse_event
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.api.series import dumps, frame_json
from app.database import reading
from app.metrics import store
from app.models import Run, RunState
from app.runs import queries
from app.settings import get_settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.4
LOG_BYTES = 64 << 10
# What the table calls otherwise: a rewind by the trainer's word, a notice beside the live log.
EVENT_NAMES = {"resumed": "rewind", "log": "notice"}

# Set when the server is about to end: streams end first, and their browsers come back later.
stopping = threading.Event()


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a listener has seen: metric rows, events, bytes of the log (None: all so far)."""

    rows: int
    seq: int
    log: int | None = None

    def within(self, rows: int, seq: int) -> "Cursor":
        """Not beyond what there is: an id may come from a database that was restored since."""
        return Cursor(min(self.rows, rows), min(self.seq, seq), self.log)

    def __str__(self) -> str:
        return ".".join(str(part) for part in (self.rows, self.seq, self.log) if part is not None)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The part of a run's row that changes while it lives, and the size of its log."""

    state: RunState
    attempt: int
    cause: str | None
    rows: int
    seq: int
    log_bytes: int
    progress: Mapping[str, Any]
    queue: Mapping[str, Any]

    def is_news_for(self, cursor: Cursor) -> bool:
        seen = (cursor.rows, cursor.seq, cursor.log)
        return seen != (self.rows, self.seq, self.log_bytes)


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in wire form, and the cursor after them."""

    messages: tuple[bytes, ...]
    cursor: Cursor


class Feed:
    """One run's poller, alive while it has listeners."""

    def __init__(self, run_id: UUID, first: Snapshot) -> None:
        self.run_id = run_id
        self.snapshot = first
        self.listeners = 0
        self._changed = asyncio.Event()
        self._batches: dict[Cursor, asyncio.Task[Batch]] = {}
        self._poller: asyncio.Task[None] | None = None

    def enter(self) -> None:
        self.listeners += 1
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())

    def leave(self) -> None:
        self.listeners -= 1
        if self.listeners == 0 and self._poller is not None:
            self._poller.cancel()

    async def changed(self, seen: Snapshot, seconds: float) -> bool:
        """Wait until there is another snapshot than the one seen; False when time is up."""
        if self.snapshot is not seen:
            return True
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def after(self, cursor: Cursor) -> Batch:
        """What came after this cursor; one reading for all who stand there."""
        task = self._batches.get(cursor)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(read_batch, self.run_id, cursor))
            self._batches[cursor] = task
        try:
            # Whoever hangs up must not take the reading away from the others.
            return await asyncio.shield(task)
        except SQLAlchemyError as error:
            log.warning("run %s could not be read: %s", self.run_id, error)
            self._batches.pop(cursor, None)
            return Batch((), cursor)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if stopping.is_set():
                self._changed.set()
                return
            try:
                fresh = await asyncio.to_thread(take_snapshot, self.run_id)
            except SQLAlchemyError as error:
                log.warning("run %s could not be looked at: %s", self.run_id, error)
                continue
            if fresh != self.snapshot:
                self.snapshot = fresh
                self._batches = {}
                self._changed.set()
                self._changed = asyncio.Event()


def take_snapshot(run_id: UUID) -> Snapshot:
    columns = (
        Run.state, Run.attempt, Run.cause, Run.metric_rows, Run.event_count, Run.stage,
        Run.progress_done, Run.progress_total, Run.progress_note, Run.position,
        Run.expected_start, Run.reason, Run.boosted_at,
    )  # fmt: skip
    with reading() as session:
        row = session.execute(select(*columns).where(Run.id == run_id)).one()
    waits = row.state in (RunState.QUEUED, RunState.HELD)
    queue = {
        "position": row.position,
        "expected_start": row.expected_start,
        "reason": row.reason,
        "boosted": row.boosted_at is not None,
    }
    progress = {
        "stage": row.stage,
        "done": row.progress_done,
        "total": row.progress_total,
        "note": row.progress_note,
    }
    return Snapshot(
        state=row.state,
        attempt=row.attempt,
        cause=row.cause,
        rows=row.metric_rows,
        seq=row.event_count,
        log_bytes=_size(_log_path(run_id)),
        progress=progress if row.stage else {},
        queue=queue if waits else {},
    )


def read_batch(run_id: UUID, cursor: Cursor) -> Batch:
    """Everything after a cursor, from one view of the database.

    Events come before points: a rewind makes the reader drop later points, and rows that
    it superseded are no longer among those that follow.
    """
    with reading() as session:
        _freeze_view(session)
        frame = store.read(session, run_id, first_row=cursor.rows)
        events = queries.events(session, run_id, after_seq=cursor.seq)
    messages = []
    for event in events:
        cursor = replace(cursor, seq=event.seq)
        body = {"attempt": event.attempt, "at": event.at.isoformat(), **event.payload}
        messages.append(encode(EVENT_NAMES.get(event.kind, event.kind), body, cursor))
    if frame.next_row > cursor.rows:
        cursor = replace(cursor, rows=frame.next_row)
        if len(frame.steps):
            messages.append(encode("points", {"series": frame_json(frame)}, cursor))
    text, cursor = _read_log(run_id, cursor)
    if text:
        messages.append(encode("log", text, cursor))
    return Batch(tuple(messages), cursor)


def encode(name: str, body: object, cursor: Cursor | str) -> bytes:
    return format_sse_event(data_str=dumps(body).decode(), event=name, id=str(cursor))


def _freeze_view(session: Session) -> None:
    """One view for both readings; SQLite's transactions have one anyhow."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def _log_path(run_id: UUID) -> Path:
    return get_settings().run_dir(run_id) / "output.log"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read_log(run_id: UUID, cursor: Cursor) -> tuple[dict[str, Any], Cursor]:
    """The log after a cursor: `skipped` bytes were left out, `text` starts at byte `offset`."""
    path = _log_path(run_id)
    size = _size(path)
    seen = size if cursor.log is None else min(cursor.log, size)
    start = max(seen, size - LOG_BYTES)
    if start >= size:
        return {}, replace(cursor, log=size)
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(size - start)
    text = content.decode("utf-8", "replace")
    return {"offset": start, "skipped": start - seen, "text": text}, replace(cursor, log=size)
