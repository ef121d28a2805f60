"""Parquet, read through a small window: a few rows at a time, only the columns that are used.

A header can promise anything, so whoever reads a stranger's file does it in a process that may
take only so much memory (`labs.intake`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labs.files.rows import MIB, Bad, Problem, Row, check_storable
from labs.formats import Mismatch, recognise, with_named_label
from labs.splits import SPLIT_COLUMN

MAGIC = b"PAR1"
BATCH_ROWS = 64
MOST_COLUMNS = 2000
# Column chunks are read in pieces, not whole; of the description at the end, this much.
LIMITS: dict[str, Any] = {
    "buffer_size": MIB,
    "pre_buffer": False,
    "thrift_string_size_limit": 16 * MIB,
    "thrift_container_size_limit": 1_000_000,
}


def rows_of(path: Path, name: str) -> Iterator[Row | Problem]:
    """Each row, by its number from 1."""
    import pyarrow as pa

    number = 0
    try:
        for number, value in enumerate(_values(path), start=1):
            yield _row(value, name, number)
    except MemoryError:
        raise
    # Whatever is wrong inside, pyarrow says it with one of these.
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        yield Problem(name, number, "Not a readable Parquet file: {reason}.", {"reason": reason})
    except Bad as bad:
        yield bad.at(name, number)


def _row(value: dict[str, Any] | Bad, name: str, number: int) -> Row | Problem:
    if isinstance(value, Bad):
        return value.at(name, number)
    try:
        check_storable([value])
    except Bad as bad:
        return bad.at(name, number)
    return Row(name, number, value)


def _values(path: Path) -> Iterator[dict[str, Any] | Bad]:
    from pyarrow.parquet import ParquetFile
    from pyarrow.types import is_large_string, is_string

    with ParquetFile(path, **LIMITS) as file:
        schema = file.schema_arrow
    columns = _wanted(schema.names)
    labels = _label_names(schema.metadata or {})
    kinds = {name: schema.field(name).type for name in columns}
    texts = [name for name, kind in kinds.items() if is_string(kind) or is_large_string(kind)]
    # A text that repeats in many rows stays one text.
    with ParquetFile(path, **LIMITS, read_dictionary=texts) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            for place in range(batch.num_rows):
                yield _value(batch, place, labels)


def _value(batch: Any, place: int, labels: tuple[str, ...]) -> dict[str, Any] | Bad:
    try:
        names = zip(batch.schema.names, batch.columns, strict=True)
        value = {name: column[place].as_py() for name, column in names}
        return with_named_label(value, labels)
    except UnicodeDecodeError as error:
        return Bad("A text is not UTF-8 (0x{byte}).", byte=f"{error.object[error.start]:02x}")
    except Mismatch as mismatch:
        return Bad(mismatch.message, **mismatch.values)


def _wanted(names: list[str]) -> list[str]:
    if len(names) > MOST_COLUMNS:
        raise Bad("The file has {count} columns; at most {limit} are read.",
                  count=len(names), limit=MOST_COLUMNS)  # fmt: skip
    form = recognise(names)
    if form is None:
        columns = ", ".join(sorted(names))[:200] or "none"
        raise Bad("The columns fit no known format: {columns}.", columns=columns)
    used = (*form.columns, *form.optional, SPLIT_COLUMN)
    return [name for name in used if name in names]


def _label_names(metadata: dict[bytes, bytes]) -> tuple[str, ...]:
    """The classes that the library “datasets” writes beside numbered labels."""
    try:
        described = json.loads(metadata.get(b"huggingface", b"{}"))
        names = described["info"]["features"]["label"]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
