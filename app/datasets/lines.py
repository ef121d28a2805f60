"""A few lines of a dataset's file as they are, around one that something was said about."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.models import Dataset
from labs.splits import split_files

AROUND = 2
LONGEST_LINE = 2000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file; `is_named` for the one that was asked for."""

    file: str
    number: int
    text: str
    is_named: bool


def lines_around(dataset: Dataset, number: int | None, file: str | None = None) -> Sequence[Line]:
    """The line of that number (from 1) with its neighbours; none where there is no such line.

    Without `file` it is looked for in the dataset's first file.
    """
    files = list(split_files(Path(dataset.path)).values())
    chosen = next((each for each in files if each.name == file), files[0] if files else None)
    if chosen is None or number is None:
        return ()
    first = max(1, number - AROUND)
    try:
        with chosen.open("rb") as content:
            found = list(islice(content, first - 1, number + AROUND))
    except OSError:
        return ()
    lines = [
        Line(chosen.name, at, raw.decode("utf-8", "replace")[:LONGEST_LINE].strip(), at == number)
        for at, raw in enumerate(found, start=first)
    ]
    return lines if any(line.is_named for line in lines) else ()
