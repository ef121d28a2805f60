"""What reading a file gives: rows, and problems where there should have been one."""

from dataclasses import dataclass, field
from typing import Any, Protocol

# Of one row, in bytes of the file and of the JSON line that it becomes.
MIB = 1 << 20
ROW_LIMIT = 4 * MIB


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a dataset cannot be used: a template with its values, and where.

    Line 0 is the file. In a Parquet file, which has no lines, it is the number of the row.
    """

    file: str
    line: int
    message: str
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message.format(**self.values)


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file, with its line number and, in JSON Lines, the byte it begins at."""

    file: str
    line: int
    value: dict[str, Any]
    offset: int = 0


class Bad(Exception):
    """What is wrong with a row or a file, without its place."""

    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.values = values

    def at(self, file: str, line: int) -> Problem:
        """The problem in its place."""
        return Problem(file, line, self.message, self.values)


class Bytes(Protocol):
    """What of a binary file is used: reading on."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""

    def readline(self, size: int, /) -> bytes:
        """A line with its end, or its first `size` bytes."""


def check_storable(values: list[Any]) -> None:
    """Refuse texts that no database stores, or that are too long together.

    Goes down into lists and objects.
    """
    rest, characters = list(values), 0
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest.extend((*item.keys(), *item.values()))
        elif isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, str):
            characters += len(item)
            if not _is_storable(item):
                raise Bad("The line holds a NUL character or half a surrogate pair.")
    if characters > ROW_LIMIT:
        raise too_long()


def too_long() -> Bad:
    """A row beyond the limit."""
    return Bad("The line is longer than {limit} MiB.", limit=ROW_LIMIT // MIB)


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
