"""One packed chunk of metric rows: `steps int64[n] | times float64[n] | values float64[k][n]`.

Little-endian, column by column, followed by k·n presence bits unless every value is
present. Not-a-number and infinities are values like any other; a missing one is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """What one step logged; `time` in Unix seconds."""

    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows by column: `values` and `present` have one line for each key."""

    keys: tuple[str, ...]
    steps: Ints
    times: Floats
    values: Floats
    present: Bools

    def __getitem__(self, rows: slice) -> "Block":
        return Block(
            self.keys,
            self.steps[rows],
            self.times[rows],
            self.values[:, rows],
            self.present[:, rows],
        )


def from_rows(rows: Sequence[MetricRow]) -> Block:
    """The columns of some rows, keys in the order of their first appearance."""
    keys = tuple(dict.fromkeys(key for row in rows for key in row.values))
    line = {key: number for number, key in enumerate(keys)}
    values = np.full((len(keys), len(rows)), np.nan)
    present = np.zeros((len(keys), len(rows)), dtype=np.bool_)
    for column, row in enumerate(rows):
        for key, value in row.values.items():
            values[line[key], column] = value
            present[line[key], column] = True
    steps = np.array([row.step for row in rows], dtype=np.int64)
    times = np.array([row.time for row in rows], dtype=np.float64)
    return Block(keys, steps, times, values, present)


def pack(block: Block) -> bytes:
    """The bytes of a block."""
    parts = [
        block.steps.astype("<i8").tobytes(),
        block.times.astype("<f8").tobytes(),
        block.values.astype("<f8").tobytes(),
    ]
    if not block.present.all():
        parts.append(np.packbits(block.present).tobytes())
    return b"".join(parts)


def unpack(keys: Sequence[str], rows: int, data: bytes) -> Block:
    """The block of these bytes; its arrays share them."""
    count = len(keys)
    bits_at = 8 * rows * (2 + count)
    values = np.frombuffer(data, "<f8", count * rows, 16 * rows).reshape(count, rows)
    if len(data) == bits_at:
        present = np.ones((count, rows), dtype=np.bool_)
    else:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=bits_at), count=count * rows)
        present = bits.astype(np.bool_).reshape(count, rows)
    return Block(
        tuple(keys),
        np.frombuffer(data, "<i8", rows),
        np.frombuffer(data, "<f8", rows, 8 * rows),
        values,
        present,
    )


def join(blocks: Sequence[Block], keys: Sequence[str] | None = None) -> Block:
    """One block of several, in order. `keys` picks columns; otherwise all of them."""
    if keys is None:
        keys = tuple(dict.fromkeys(key for block in blocks for key in block.keys))
    steps = _concatenate([block.steps for block in blocks], np.int64)
    times = _concatenate([block.times for block in blocks], np.float64)
    if blocks and all(block.keys == keys for block in blocks):
        values = np.concatenate([block.values for block in blocks], axis=1)
        present = np.concatenate([block.present for block in blocks], axis=1)
        return Block(tuple(keys), steps, times, values, present)
    return Block(tuple(keys), steps, times, *_aligned(blocks, keys, len(steps)))


def _aligned(blocks: Sequence[Block], keys: Sequence[str], total: int) -> tuple[Floats, Bools]:
    """Values and presence of blocks that do not all have these keys in this order."""
    values = np.full((len(keys), total), np.nan)
    present = np.zeros((len(keys), total), dtype=np.bool_)
    line = {key: number for number, key in enumerate(keys)}
    start = 0
    for block in blocks:
        end = start + len(block.steps)
        for number, key in enumerate(block.keys):
            if (target := line.get(key)) is not None:
                values[target, start:end] = block.values[number]
                present[target, start:end] = block.present[number]
        start = end
    return values, present


def _concatenate(arrays: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=kind)
