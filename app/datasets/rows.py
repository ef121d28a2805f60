"""Rows of a dataset by their number, read where they stand: a page costs little more than its rows."""

import json
from bisect import bisect_right
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from app.errors import Unavailable
from app.i18n import N_
from app.models import Dataset
from labs.dataset_check import read_example
from labs.formats import Example
from labs.jsonl import Problem, Row
from labs.profile import FileMap, Profile
from labs.splits import SPLITS, label_names, split_files, stated_split

PAGE_ROWS = 10
# A file that was checked before the rows of each split were counted is read from its beginning to
# find those of one: not where that takes longer than a page may.
SCANNED_BYTES = 16 << 20
WHOLE = "all"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row, its number in its file (from 1), and the split it is in, empty where nobody knows."""

    number: int
    split: str
    example: Example


@dataclass(frozen=True, slots=True)
class RowsPage:
    """Some rows, and which page of how many they are."""

    rows: tuple[NumberedRow, ...]
    page: int
    pages: int
    count: int


@dataclass(frozen=True, slots=True)
class Part:
    """A stored file of a dataset: one for each split, or the whole."""

    split: str
    file: Path
    places: FileMap


class StoredRows:
    """The rows of one dataset. Reading raises `Unavailable` where its file is gone or damaged."""

    def __init__(self, dataset: Dataset) -> None:
        self.path = Path(dataset.path)
        self._dataset = dataset
        self.profile = Profile.read(dataset.verdict.get("profile") or {})

    @property
    def sizes(self) -> Mapping[str, int]:
        """Rows by split."""
        found = self._dataset.verdict.get("splits", {})
        return {split: int(found[split]) for split in SPLITS if split in found}

    @property
    def can_filter(self) -> bool:
        """Whether the rows of one split can be found quickly."""
        if not self.sizes:
            return False
        has_counts = all(part.places.before for part in self._parts if part.split == WHOLE)
        return has_counts or self._dataset.bytes <= SCANNED_BYTES

    def page(self, number: int, split: str = "") -> RowsPage:
        """That page (from 1, at most the last) of all rows or of a split's."""
        if not self._parts:
            raise _unreadable(self._dataset.name)
        split = split if self.can_filter else ""
        count = self.sizes[split] if split else self._dataset.rows
        pages = max(1, -(-count // PAGE_ROWS))
        number = min(number, pages)
        rows = islice(self._from((number - 1) * PAGE_ROWS, split), PAGE_ROWS)
        return RowsPage(tuple(_readable(rows, self._dataset.name)), number, pages, count)

    def sample(self, most: int) -> Iterator[Example]:
        """Rows that stand for all: each as likely as any other, or the first where none are drawn.

        Files give as many as is their share of all rows.
        """
        return _readable(self._sampled(most), self._dataset.name)

    @cached_property
    def _parts(self) -> tuple[Part, ...]:
        files = split_files(self.path)
        return tuple(
            Part(split, file, self.profile.files.get(split) or self._unknown(split))
            for split, file in files.items()
        )

    def _unknown(self, split: str) -> FileMap:
        rows = self._dataset.rows if split == WHOLE else self.sizes.get(split, 0)
        return FileMap(rows, max(1, rows), (0,), ())

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return label_names(self.path)

    def _from(self, first: int, split: str) -> Iterator[NumberedRow]:
        for part in self._parts:
            if part.split == WHOLE and split:
                yield from self._of_split(part, first, split)
            elif not split or part.split == split:
                yield from self._rows(part, first)
                first = max(0, first - part.places.rows)

    def _of_split(self, part: Part, first: int, split: str) -> Iterator[NumberedRow]:
        """From the last mark before which no more than `first` rows of the split stand."""
        place = SPLITS.index(split)
        before = [counts[place] for counts in part.places.before] or [0]
        mark = bisect_right(before, first) - 1
        rows = self._rows(part, mark * part.places.stride)
        return islice((row for row in rows if row.split == split), first - before[mark], None)

    def _rows(self, part: Part, first: int) -> Iterator[NumberedRow]:
        if first >= part.places.rows:
            return
        for number, line in _lines(part, first):
            value = json.loads(line)
            example = self._example(part, number, value)
            split = self._split(part, example, value)
            yield NumberedRow(number + 1, split, example)

    def _split(self, part: Part, example: Example, value: Mapping[str, Any]) -> str:
        if part.split != WHOLE:
            return part.split
        stated = "" if self.profile.cuts else stated_split(value)
        return self.profile.split_of(example, stated)

    def _example(self, part: Part, number: int, value: dict[str, Any]) -> Example:
        read = read_example(Row(part.file.name, number + 1, value), self._labels)
        if isinstance(read, Problem):
            raise ValueError(str(read))
        return read[1]

    def _sampled(self, most: int) -> Iterator[Example]:
        total = max(1, sum(part.places.rows for part in self._parts))
        for part in self._parts:
            drawn = part.places.sample
            wanted = max(1, round(most * part.places.rows / total))
            if not drawn:
                yield from (row.example for row in islice(self._rows(part, 0), wanted))
                continue
            with part.file.open("rb") as content:
                for place in _thinned(drawn, wanted):
                    content.seek(place)
                    yield self._example(part, 0, json.loads(content.readline()))


def _lines(part: Part, first: int) -> Iterator[tuple[int, bytes]]:
    """The lines that hold rows, from that row (from 0) on, with their numbers."""
    places = part.places
    mark = min(first // places.stride, len(places.marks) - 1)
    number = mark * places.stride
    with part.file.open("rb") as content:
        content.seek(places.marks[mark])
        for line in content:
            if not line.strip():
                continue
            if number >= first:
                yield number, line.removeprefix(BOM_UTF8)
            number += 1


def _thinned(places: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    """So many of them, evenly."""
    if wanted >= len(places):
        return places
    return tuple(places[index * len(places) // wanted] for index in range(wanted))


def _unreadable(name: str) -> Unavailable:
    told = N_("The rows of “{name}” cannot be read: its file is gone or was changed.")
    return Unavailable(told, name=name)


def _readable(rows: Iterator[T], name: str) -> Iterator[T]:
    """The same, with one error for what can be wrong with a file that was checked once."""
    try:
        yield from rows
    except (OSError, ValueError) as error:
        raise _unreadable(name) from error
