"""What kind of file it is: by what is in it, and by its name only where that leaves a choice."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labs.files import document, parquet, prose, table
from labs.files.lines import UTF8_MARK
from labs.files.rows import ROW_LIMIT, Bad, Problem, Row
from labs.formats import recognise
from labs.jsonl import rows_of as lines_of
from labs.splits import SPLIT_NAMES

KindName = Literal["jsonl", "json", "csv", "parquet", "txt"]
FORMER: dict[str, KindName] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "txt",
}
SUFFIXES = tuple(FORMER)
HEAD_BYTES = 64 << 10
MARKS_OF_OTHERS = {
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"(\xb5/\xfd": "Zstandard",
    b"7z\xbc\xaf": "7z",
}
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
JSON_START = re.compile(rb'[\[{]\s*["{\[\]}]')
FIRST_NAME = re.compile(rb'\{\s*"([^"\\]{1,40})"\s*:\s*\[')


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file, with what its reader has to know."""

    name: KindName
    delimiter: str = ","
    by_paragraph: bool = False


def read_file(path: Path, name: str = "") -> tuple[Kind | None, Iterator[Row | Problem]]:
    """The kind of a file and its rows; None for a kind that is not read, with the reason as a row.

    Args:
        path: The file.
        name: What it is called, where that is not what its path says.
    """
    called = name or path.name
    try:
        kind = kind_of(path, called)
    except Bad as bad:
        return None, iter([bad.at(called, 0)])
    return kind, _rows(path, called, kind)


def _rows(path: Path, name: str, kind: Kind) -> Iterator[Row | Problem]:
    if kind.name == "parquet":
        yield from parquet.rows_of(path, name)
        return
    with path.open("rb") as file:
        if kind.name == "jsonl":
            yield from lines_of(file, name)
        elif kind.name == "json":
            yield from document.rows_of(file, name)
        elif kind.name == "csv":
            yield from table.rows_of(file, name, kind.delimiter)
        else:
            yield from prose.rows_of(file, name, kind.by_paragraph)


def kind_of(path: Path, name: str = "") -> Kind:
    """What kind a file is, by its beginning.

    Raises:
        Bad: If it is of a kind that is not read.
    """
    with path.open("rb") as file:
        head = file.readline(ROW_LIMIT)
        head += file.read(max(0, HEAD_BYTES - len(head)))
    former = FORMER.get(Path(name or path.name).suffix.lower())
    if head.startswith(parquet.MAGIC):
        return Kind("parquet")
    _refuse_others(head)
    start = head.removeprefix(UTF8_MARK).lstrip()
    if former != "txt" or JSON_START.match(start):
        if start.startswith(b"["):
            return Kind("jsonl") if former == "jsonl" else Kind("json")
        if start.startswith(b"{"):
            return Kind("json") if _is_document(start) else Kind("jsonl")
    return _of_text(start, former)


def _refuse_others(head: bytes) -> None:
    if head.startswith(WIDE_MARKS):
        raise Bad("The file is UTF-16. Save it as UTF-8.")
    for mark, title in MARKS_OF_OTHERS.items():
        if head.startswith(mark):
            raise Bad("The file is packed ({kind}). Unpack it and send what is inside.", kind=title)
    if head[:4096].count(0) > len(head[:4096]) // 8:
        raise Bad("The file is neither text nor Parquet. Save it as UTF-8 text.")


def _is_document(start: bytes) -> bool:
    """Whether an object at the beginning is all of the file, and not the first of many rows."""
    line = start.partition(b"\n")[0]
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        found = FIRST_NAME.match(start)
        named = found is not None and _holds_rows(found[1].decode("utf-8", "replace"))
        return named or line.strip() == b"{"
    if not isinstance(value, dict) or recognise(value):
        return False
    return any(_holds_rows(key) and isinstance(each, list) for key, each in value.items())


def _holds_rows(key: str) -> bool:
    return key.lower() in (*document.ROW_LISTS, *document.LABEL_NAMES, *SPLIT_NAMES)


def _of_text(start: bytes, former: KindName | None) -> Kind:
    header = start.partition(b"\n")[0].decode("utf-8", "replace")
    delimiter = table.delimiter_of(header)
    if delimiter is not None and (former == "csv" or len(table.columns_of(header, delimiter)) > 1):
        return Kind("csv", delimiter)
    if former == "csv":
        return Kind("csv", "\t" if "\t" in header else ";" if ";" in header else ",")
    if former in ("json", "jsonl"):
        return Kind(former)
    if former == "parquet":
        raise Bad("Not a readable Parquet file: {reason}.", reason="it does not begin with PAR1")
    return Kind("txt", by_paragraph=prose.has_paragraphs(start))
