"""Reading JSON Lines that somebody else wrote: bounded memory, a reason for each bad line."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

LINE_LIMIT = 4 << 20
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Digest(Protocol):
    """A running hash, as hashlib makes them."""

    def update(self, data: bytes, /) -> None:
        """Feed more bytes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a dataset cannot be used: a template with its values, and where. Line 0 is the file."""

    file: str
    line: int
    message: str
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message.format(**self.values)


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file, with its line number."""

    file: str
    line: int
    value: dict[str, Any]


class _Bad(Exception):
    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.values = values


def read_rows(path: Path, digest: Digest | None = None) -> Iterator[Row | Problem]:
    """Yield a `Row` or a `Problem` for each line that is not blank.

    Args:
        path: A .jsonl file.
        digest: A hashlib object that is fed every byte of the file, if given.
    """
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file, digest or hashlib.sha256()), start=1):
            if isinstance(line, bytes) and not line.strip():
                continue
            try:
                yield Row(path.name, number, _parse(line, number))
            except _Bad as bad:
                yield Problem(path.name, number, bad.message, bad.values)


def _lines(file: BinaryIO, digest: Digest) -> Iterator[bytes | None]:
    """Each line, or None for one over the limit, whose rest is read past in pieces."""
    while line := file.readline(LINE_LIMIT + 1):
        digest.update(line)
        if len(line) <= LINE_LIMIT:
            yield line
            continue
        yield None
        while line and not line.endswith(b"\n"):
            line = file.readline(LINE_LIMIT)
            digest.update(line)


def _parse(line: bytes | None, number: int) -> dict[str, Any]:
    if line is None:
        raise _Bad("The line is longer than {limit} MiB.", limit=LINE_LIMIT >> 20)
    value = _value(_text(line, number))
    if not isinstance(value, dict):
        raise _Bad(
            "The line is JSON, but not an object with columns like {example}.",
            example='{"text": "…"}',
        )
    return value


def _text(line: bytes, number: int) -> str:
    if number == 1 and line.startswith(UTF16_MARKS):
        raise _Bad("The file is UTF-16. Save it as UTF-8.")
    if number == 1:
        line = line.removeprefix(UTF8_MARK)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Bad(
            "Byte {position} of the line is not UTF-8 (0x{byte}). Save the file as UTF-8.",
            position=error.start + 1,
            byte=f"{line[error.start]:02x}",
        ) from error


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise _Bad(
            "Not valid JSON at character {position}: {reason}.",
            position=error.pos + 1,
            reason=error.msg,
        ) from error
    except (ValueError, RecursionError) as error:
        raise _Bad("Not usable JSON: a number too long or objects nested too deep.") from error
    # Only an escape can bring these in; neither can be stored as text by a database.
    if "\\u" in text and _has_unstorable(value):
        raise _Bad("The line holds a NUL character or half a surrogate pair.")
    return value


def _has_unstorable(value: Any) -> bool:
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest.extend((*item.keys(), *item.values()))
        elif isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in item):
            return True
    return False
