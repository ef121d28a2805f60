"""`events.jsonl` into the database: in order, once, and only by the attempt that owns the run.

The offset up to which the file has been read is committed together with what was read, so
a crash at any moment neither loses a line nor takes one twice.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from mmap import PROT_READ, mmap
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from app import clock
from app.i18n import N_
from app.metrics import store
from app.models import Artifact, Attempt
from app.runs import lifecycle
from app.runs.journal import append_events
from app.runs.reasons import reason_of
from labs.published import read_manifest
from workers.events import body, metric_row, parse

Json = dict[str, Any]
FILE = "events.jsonl"
WRITER = re.compile(rb'^\{"kind": ?"\w+", ?"attempt": ?(\d{1,9})', re.MULTILINE)
READ_BYTES = 4 << 20
# A line beyond this is no event of ours; it is passed over.
LONGEST_LINE = 16 << 20
# What an earlier attempt wrote and nobody had read when it died is still worth having.
HERITABLE = frozenset({"metrics", "resumed", "artifact", "table", "samples", "heatmap", "plot"})
# Kept on the run's row or in tables of their own, not among the events that pages are told.
NOT_TOLD = frozenset({"metrics", "resumed", "progress", "artifact", "end"})


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole lines after an offset, as events, and the offset after them."""

    events: Sequence[Json]
    offset: int
    unreadable: int = 0
    writer: int = 0  # the highest attempt that has written up to this offset


class Follower:
    """Reads the events of one attempt.

    Lines before `boundary` were there when this attempt began and belong to earlier ones;
    after it, a line with another attempt's number comes from a process that should be dead.
    So does one of an attempt after which a later one has already written.
    """

    def __init__(self, run_id: UUID, attempt: int, run_dir: Path, offset: int) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self.run_dir = run_dir
        self.offset = offset
        self.step = 0
        self.end: Json | None = None
        self._path = run_dir / FILE
        self.boundary = self._path.stat().st_size if self._path.exists() else 0
        self._writer = self._writer_so_far()

    def read(self) -> Batch:
        """The whole lines after the offset, up to some megabytes; a torn end waits."""
        content = self._content()
        whole = content.rfind(b"\n") + 1
        if not whole and len(content) >= LONGEST_LINE:
            return Batch([], self.offset + len(content), 1, self._writer)
        events, unreadable, at, writer = [], 0, self.offset, self._writer
        for line in content[:whole].splitlines(keepends=True):
            event = parse(line)
            if event is not None and writer <= event["attempt"] <= self.attempt:
                writer = event["attempt"]
                if self._counts(event, at):
                    events.append(event)
            unreadable += event is None and bool(line.strip())
            at += len(line)
        return Batch(events, at, unreadable, writer)

    def take(self, session: Session, batch: Batch, **noted: Any) -> lifecycle.Wishes:
        """Write a batch down and renew the lease.

        Call `committed` once the transaction has been.

        Args:
            session: Of a transaction that may write.
            batch: What `read` gave last.
            noted: What else is to change on the attempt's row.

        Raises:
            StaleAttempt: If the run belongs to another attempt by now.
        """
        own = [event for event in batch.events if event["attempt"] == self.attempt]
        wishes = lifecycle.renew(session, self.run_id, self.attempt, **run_changes(own))
        told: list[tuple[str, Json]] = []
        for part in _cut(batch.events):
            told += self._write(session, part)
        if batch.unreadable:
            told.append(("log", _unreadable(batch)))
        append_events(session, self.run_id, self.attempt, told)
        if batch.offset != self.offset:
            noted["events_offset"] = batch.offset
        if noted:
            self.update_attempt(session, **noted)
        return wishes

    def committed(self, batch: Batch) -> None:
        """The batch is in the database for good."""
        self.offset, self._writer = batch.offset, batch.writer
        for event in batch.events:
            if event["kind"] == "metrics":
                self.step = event["step"]
            elif event["kind"] == "end":
                self.end = event

    def _content(self) -> bytes:
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            file.seek(self.offset)
            content = file.read(READ_BYTES)
            while b"\n" not in content and len(content) < LONGEST_LINE:
                more = file.read(READ_BYTES)
                if not more:
                    break
                content += more
        return content

    def _writer_so_far(self) -> int:
        length = min(self.offset, self.boundary)
        if self.attempt == 1 or not length:
            return 0
        with self._path.open("rb") as file, mmap(file.fileno(), length, prot=PROT_READ) as before:
            numbers = {int(found[1]) for found in WRITER.finditer(before)}
        return max((number for number in numbers if number <= self.attempt), default=0)

    def _counts(self, event: Json, at: int) -> bool:
        inherited = at < self.boundary and event["kind"] in HERITABLE
        return inherited or event["attempt"] == self.attempt

    def _write(self, session: Session, part: Sequence[Json]) -> Iterator[tuple[str, Json]]:
        if part and part[0]["kind"] == "resumed":
            step = part[0]["step"]
            row = store.rewind(session, self.run_id, self.attempt, step)
            self.update_attempt(session, resumed_from_step=step)
            yield "resumed", {"step": step, "row": row}
        rows = [metric_row(event) for event in part if event["kind"] == "metrics"]
        if rows:
            store.append(session, self.run_id, self.attempt, rows, part[0]["attempt"])
        for event in part:
            if event["kind"] == "artifact" and self._publish(session, event):
                yield "artifact", body(event)
            elif event["kind"] not in NOT_TOLD:
                yield event["kind"], body(event)

    def _publish(self, session: Session, event: Json) -> bool:
        """Make an artifact visible, if it is whole on the disk and the one that was announced."""
        folder = self.run_dir / event["path"]
        manifest = read_manifest(folder)
        if manifest is None or manifest["sha256"] != event["sha256"]:
            return False
        if any(not _has_size(folder / file["path"], file["bytes"]) for file in manifest["files"]):
            return False
        fields = {key: event[key] for key in ("name", "path", "bytes", "sha256", "step")}
        session.merge(
            Artifact(
                run_id=self.run_id,
                kind=event["artifact_kind"],
                attempt=event["attempt"],
                created_at=clock.now(),
                **fields,
            )
        )
        session.flush()
        return True

    def update_attempt(self, session: Session, **changes: Any) -> None:
        """Change the attempt's row, in a transaction that has passed the fence."""
        session.execute(
            update(Attempt)
            .where(Attempt.run_id == self.run_id, Attempt.number == self.attempt)
            .values(changes)
            .execution_options(synchronize_session=False)
        )


def run_changes(events: Sequence[Json]) -> Json:
    """What an attempt's own events change on the run's row."""
    changes: Json = {}
    for event in events:
        if event["kind"] == "environment":
            changes["environment"] = body(event)
        elif event["kind"] == "progress":
            changes |= {
                "progress_done": event["done"],
                "progress_total": event["total"],
                "progress_note": event["note"],
            }
        elif event["kind"] == "stage" and event["status"] == "started":
            started = datetime.fromtimestamp(event["t"], UTC)
            changes |= {"stage": event["stage"], "stage_started_at": started}
            changes |= {"progress_done": 0.0, "progress_total": 0.0, "progress_note": ""}
    return changes


def _cut(events: Sequence[Json]) -> Iterator[list[Json]]:
    """Rows before and after a rewind, or of two attempts, must not come into one chunk."""
    part: list[Json] = []
    for event in events:
        if event["kind"] == "resumed" or (part and part[0]["attempt"] != event["attempt"]):
            yield part
            part = []
        part.append(event)
    yield part


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _unreadable(batch: Batch) -> Json:
    told = N_("Unreadable lines in the event log, before byte {offset}, were passed over: {count}.")
    return reason_of(told, offset=batch.offset, count=batch.unreadable)
