"""Reading JSON Lines that somebody else wrote: bounded memory, a reason for each bad line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labs.files.lines import bounded_lines, text_of
from labs.files.rows import ROW_LIMIT as LINE_LIMIT
from labs.files.rows import Bad, Bytes, Problem, Row
from labs.files.strict_json import parse

__all__ = ["LINE_LIMIT", "Problem", "Row", "read_rows", "rows_of"]


def read_rows(path: Path) -> Iterator[Row | Problem]:
    """Yield a `Row` or a `Problem` for each line of a .jsonl file that is not blank."""
    with path.open("rb") as file:
        yield from rows_of(file, path.name)


def rows_of(file: Bytes, name: str) -> Iterator[Row | Problem]:
    """The same of an open file; `name` is what problems call it."""
    for number, (offset, line) in enumerate(bounded_lines(file), start=1):
        if line is not None and not line.strip():
            continue
        try:
            yield Row(name, number, _object(line, number), offset)
        except Bad as bad:
            yield bad.at(name, number)


def _object(line: bytes | None, number: int) -> dict[str, Any]:
    value = parse(text_of(line, number))
    if not isinstance(value, dict):
        raise Bad(
            "The line is JSON, but not an object with columns like {example}.",
            example='{"text": "…"}',
        )
    return value
