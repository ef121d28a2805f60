"""CSV: which character parses its header into columns that are known, then row by row."""

import csv
from collections.abc import Iterator, Sequence
from typing import Any

from labs.files.lines import bounded_lines, text_of
from labs.files.rows import ROW_LIMIT, Bad, Bytes, Problem, Row, too_long
from labs.files.strict_json import parse
from labs.formats import recognise

DELIMITERS = (",", "\t", ";", "|")
# Where a cell holds a conversation, it holds it as JSON.
STRUCTURED = frozenset({"messages", "conversations"})


def columns_of(header: str, delimiter: str) -> Sequence[str]:
    """The names in a first line; none where it is not valid CSV."""
    try:
        return _named(next(csv.reader([header], delimiter=delimiter, strict=True), []))
    except csv.Error:
        return ()


def _named(cells: Sequence[str]) -> Sequence[str]:
    """The cells of a header as names of columns: in small letters, if only then they are known."""
    columns = [cell.strip() for cell in cells]
    lowered = [column.lower() for column in columns]
    return lowered if recognise(columns) is None and recognise(lowered) else columns


def delimiter_of(header: str) -> str | None:
    """What separates the names of a known format's columns, or None."""
    return next((each for each in DELIMITERS if recognise(columns_of(header, each))), None)


def rows_of(file: Bytes, name: str, delimiter: str) -> Iterator[Row | Problem]:
    """Each record below the header; line numbers are those the records begin on."""
    csv.field_size_limit(ROW_LIMIT)  # for the whole process, which wants no other
    lines = _Lines(file)
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    columns: Sequence[str] = ()
    while True:
        line = lines.number + 1
        try:
            cells = next(records)
            if not columns:
                columns = _header(cells)
            elif cells:
                yield Row(name, line, _row(columns, cells))
        except StopIteration:
            return
        except csv.Error as error:
            # What follows may be inside or outside of a quotation: nobody can tell.
            yield _not_csv(str(error)).at(name, line)
            return
        except Bad as bad:
            yield bad.at(name, max(line, lines.number))
            if not columns:
                return


def _header(cells: Sequence[str]) -> Sequence[str]:
    columns = _named(cells)
    named = [column for column in columns if column]
    twice = next((column for column in named if named.count(column) > 1), None)
    if twice is not None:
        raise Bad("The column “{column}” stands twice in the header.", column=twice[:40])
    if not named:
        raise Bad("The first line names no columns.")
    return columns


def _row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise Bad(
            "The row has {found} cells, the header {expected}.",
            found=len(cells),
            expected=len(columns),
        )
    if sum(map(len, cells)) > ROW_LIMIT:
        raise too_long()
    row: dict[str, Any] = dict(zip(columns, cells, strict=True))
    return {name: parse(cell) if name in STRUCTURED else cell for name, cell in row.items()}


def _not_csv(reason: str) -> Bad:
    if reason.startswith(("unexpected end", "field larger")):
        return Bad("A quotation mark that is opened here is never closed.")
    return Bad("Not valid CSV: {reason}.", reason=reason)


class _Lines:
    """Lines as text, with the number of the latest; goes on behind one that is bad."""

    def __init__(self, file: Bytes) -> None:
        self.number = 0
        self._lines = bounded_lines(file)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        _offset, line = next(self._lines)
        self.number += 1
        text = text_of(line, self.number)
        if "\0" in text:
            raise Bad("The line holds a NUL character or half a surrogate pair.")
        return text
