"""Metric rows of runs, packed: one database row for each flush, merged when a run is over.

Rows are numbered within the run across attempts and chunks (`first_row`), so a reader that
has seen N rows asks for those from N on. Rows past the checkpoint that a later attempt
resumed from, or that it says again, are archived: they keep their numbers and are no longer
read. So of each key, each step is read once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.i18n import N_
from app.metrics import latest as newest
from app.metrics.chunk import Block, Bools, Floats, Ints, MetricRow, from_rows, join, pack, unpack
from app.metrics.latest import LatestValue, latest
from app.models import MetricChunk, Run

__all__ = [
    "LatestValue",
    "MetricFrame",
    "MetricRow",
    "append",
    "latest",
    "merge",
    "read",
    "rewind",
]

MERGED_ROWS = 1000


@dataclass(frozen=True, slots=True)
class MetricFrame:
    """Rows of a run by column; `next_row` is where a later read continues."""

    steps: Ints
    times: Floats
    columns: dict[str, tuple[Floats, Bools]]
    next_row: int

    def series(self, key: str) -> tuple[Ints, Floats]:
        """Steps and values of one key, where it was logged; empty for an unknown one."""
        if key not in self.columns:
            return self.steps[:0], self.times[:0]
        values, present = self.columns[key]
        if present.all():  # the usual case, and a copy is half the cost of a chart
            return self.steps, values
        return self.steps[present], values[present]


def append(
    session: Session,
    run_id: UUID,
    attempt: int,
    rows: Sequence[MetricRow],
    written_by: int | None = None,
) -> int:
    """Add rows as one chunk, in the transaction of the caller; returns the run's rows so far.

    Where they say again what an earlier attempt had said, its points are archived from there on,
    key by key: a run that starts over has one line, not two.

    Args:
        attempt: The one that owns the run.
        written_by: An earlier one that wrote these rows and died before they were read.

    Raises:
        Conflict: If the run is in another attempt by now.
    """
    total = session.scalar(
        update(Run)
        .where(Run.id == run_id, Run.attempt == attempt)
        .values(metric_rows=Run.metric_rows + len(rows))
        .returning(Run.metric_rows)
        .execution_options(synchronize_session=False)
    )
    if total is None:
        raise Conflict(N_("Attempt {attempt} no longer owns this run."), attempt=attempt)
    if rows:
        writer = written_by or attempt
        block = from_rows(rows)
        if writer > 1:
            _supersede(session, run_id, writer, block)
        stored = _stored(run_id, total - len(rows), writer, block)
        session.execute(insert(MetricChunk), [stored])
        newest.update(session, run_id, block)
    return total


def read(
    session: Session, run_id: UUID, keys: Collection[str] | None = None, first_row: int = 0
) -> MetricFrame:
    """The rows of a run from a row number on, of all keys or some."""
    wanted = tuple(keys) if keys is not None else None
    blocks = []
    next_row = first_row
    for chunk in _chunks(session, run_id, first_row):
        block = unpack(chunk.keys, chunk.rows, chunk.data)
        blocks.append(block[max(0, first_row - chunk.first_row) :])
        next_row = chunk.first_row + chunk.rows
    whole = join(blocks, wanted)
    columns = {
        key: (whole.values[line], whole.present[line]) for line, key in enumerate(whole.keys)
    }
    return MetricFrame(whole.steps, whole.times, columns, next_row)


def rewind(session: Session, run_id: UUID, attempt: int, step: int) -> int:
    """Archive the rows past `step`: this attempt resumed there. Returns the run's rows so far."""
    total = append(session, run_id, attempt, [])
    for chunk in list(_chunks(session, run_id)):
        block = unpack(chunk.keys, chunk.rows, chunk.data)
        superseded = block.steps > step
        if superseded.any():
            _replace(session, run_id, [chunk], _split(run_id, chunk, block, superseded))
    _renew_latest(session, run_id)
    return total


def merge(session: Session, run_id: UUID) -> int:
    """Rewrite a run's chunks as few large ones; returns how many there are now.

    Chunks of different attempts, and archived ones, stay apart.
    """
    session.execute(select(Run.id).where(Run.id == run_id).with_for_update())
    count = 0
    for (attempt, archived), group in groupby(
        _chunks(session, run_id, archived=None), lambda chunk: (chunk.attempt, chunk.archived)
    ):
        chunks = list(group)
        count += _merge_group(session, run_id, chunks, attempt, archived)
    return count


def _supersede(session: Session, run_id: UUID, writer: int, block: Block) -> None:
    """Archive what earlier attempts said at the first step of each of these keys, and later."""
    firsts = {
        key: int(block.steps[block.present[line]].min())
        for line, key in enumerate(block.keys)
        if block.present[line].any()
    }
    if not newest.reaches(session, run_id, firsts):
        return
    for chunk in _chunks(session, run_id):
        if chunk.attempt < writer:
            _archive_again(session, run_id, chunk, firsts)
    _renew_latest(session, run_id)


def _archive_again(session: Session, run_id: UUID, chunk: Any, firsts: Mapping[str, int]) -> None:
    """Rows of which nothing stays are archived; of the others the values said again are left out."""
    block = unpack(chunk.keys, chunk.rows, chunk.data)
    limits = np.array([firsts.get(key, np.iinfo(np.int64).max) for key in block.keys])
    again = block.present & (block.steps >= limits[:, None])
    if not again.any():
        return
    archived: Bools = np.asarray(again.any(axis=0) & ~(block.present & ~again).any(axis=0))
    left_out = again & ~archived
    present, values = block.present & ~left_out, np.where(left_out, np.nan, block.values)
    kept = Block(block.keys, block.steps, block.times, values, present)
    _replace(session, run_id, [chunk], _split(run_id, chunk, kept, archived))


def _renew_latest(session: Session, run_id: UUID) -> None:
    kept = read(session, run_id)
    newest.replace(session, run_id, kept.steps, kept.columns)


def _merge_group(
    session: Session, run_id: UUID, chunks: list[Any], attempt: int, archived: bool
) -> int:
    target = -(-sum(chunk.rows for chunk in chunks) // MERGED_ROWS)
    if len(chunks) <= target:
        return len(chunks)
    whole = join([unpack(chunk.keys, chunk.rows, chunk.data) for chunk in chunks])
    first = chunks[0].first_row
    parts = [
        _stored(run_id, first + at, attempt, _compact(whole[at : at + MERGED_ROWS]), archived)
        for at in range(0, len(whole.steps), MERGED_ROWS)
    ]
    _replace(session, run_id, chunks, parts)
    return len(parts)


def _compact(block: Block) -> Block:
    """Without the keys that none of these rows has."""
    used = np.flatnonzero(block.present.any(axis=1))
    keys = tuple(block.keys[line] for line in used)
    return Block(keys, block.steps, block.times, block.values[used], block.present[used])


def _split(run_id: UUID, chunk: Any, block: Block, archived: Bools) -> list[dict[str, Any]]:
    """The chunk as pieces that are archived whole or kept whole."""
    edges = [0, *(np.flatnonzero(np.diff(archived)) + 1).tolist(), len(archived)]
    return [
        _stored(
            run_id, chunk.first_row + start, chunk.attempt, block[start:end], bool(archived[start])
        )
        for start, end in pairwise(edges)
    ]


def _replace(
    session: Session, run_id: UUID, old: Iterable[Any], new: Sequence[dict[str, Any]]
) -> None:
    first_rows = [chunk.first_row for chunk in old]
    session.execute(
        delete(MetricChunk)
        .where(
            MetricChunk.run_id == run_id,
            MetricChunk.first_row.between(min(first_rows), max(first_rows)),
        )
        .execution_options(synchronize_session=False)
    )
    session.execute(insert(MetricChunk), list(new))


def _stored(
    run_id: UUID, first_row: int, attempt: int, block: Block, archived: bool = False
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "first_row": first_row,
        "rows": len(block.steps),
        "attempt": attempt,
        "archived": archived,
        "keys": list(block.keys),
        "data": pack(block),
    }


def _chunks(
    session: Session, run_id: UUID, first_row: int = 0, archived: bool | None = False
) -> Sequence[Any]:
    chunk = MetricChunk
    columns = (chunk.first_row, chunk.rows, chunk.attempt, chunk.archived, chunk.keys, chunk.data)
    statement = select(*columns).where(
        chunk.run_id == run_id, chunk.first_row + chunk.rows > first_row
    )
    if archived is not None:
        statement = statement.where(chunk.archived.is_(archived))
    return session.execute(statement.order_by(chunk.first_row)).all()
