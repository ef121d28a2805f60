"""Counting what `labs.profile` tells: one pass, nineteen bytes a row. Imports no torch."""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from random import Random

from labs.formats import Example
from labs.profile import (
    LONGEST_LABEL,
    LONGEST_ROWS,
    MARKS,
    MOST_LABELS,
    SAMPLED_ROWS,
    FileMap,
    Lengths,
    LongRow,
    Profile,
)
from labs.splits import SPLITS, Dealing, different, prompt_key, row_key


def _limits() -> Iterable[int]:
    """Eight bins to every doubling, up to far beyond what a row may hold."""
    yield from range(9)
    for power in range(3, 24):
        yield from (2**power * part // 8 for part in range(9, 17))


LIMITS = tuple(_limits())


class LengthTally:
    """Lengths of one text in every row."""

    def __init__(self) -> None:
        self._counts = [0] * len(LIMITS)
        self._rows = 0
        self._sum = 0
        self._shortest = 0
        self._longest = 0

    def add(self, length: int) -> None:
        self._counts[min(bisect_left(LIMITS, length), len(LIMITS) - 1)] += 1
        self._shortest = min(self._shortest, length) if self._rows else length
        self._longest = max(self._longest, length)
        self._rows += 1
        self._sum += length

    def lengths(self) -> Lengths:
        if not self._rows:
            return Lengths()
        used = [place for place, count in enumerate(self._counts) if count]
        bins = slice(used[0], used[-1] + 1)
        return Lengths(
            shortest=self._shortest,
            mean=round(self._sum / self._rows, 1),
            median=self._quantile(0.5),
            p95=self._quantile(0.95),
            longest=self._longest,
            limits=LIMITS[bins],
            counts=tuple(self._counts[bins]),
        )

    def _quantile(self, share: float) -> int:
        seen = 0
        for limit, count in zip(LIMITS, self._counts, strict=True):
            seen += count
            if seen >= share * self._rows:
                return min(limit, self._longest)
        return self._longest


class FileTally:
    """Where rows of one file begin."""

    def __init__(self) -> None:
        self._rows = 0
        self._stride = 1
        self._marks: list[int] = []
        self._sample: list[int] = []
        self._random = Random(0)

    def add(self, offset: int) -> None:
        if self._rows % self._stride == 0:
            self._marks.append(offset)
            if len(self._marks) > MARKS:
                self._marks = self._marks[::2]
                self._stride *= 2
        self._rows += 1
        # Reservoir sampling: each row so far is as likely as any other to be in it.
        if len(self._sample) < SAMPLED_ROWS:
            self._sample.append(offset)
        elif (place := int(self._random.random() * self._rows)) < SAMPLED_ROWS:
            self._sample[place] = offset

    def file_map(self, dealing: Dealing | None) -> FileMap:
        """The map; of a single file with how `dealing` deals its rows."""
        before = self._before(dealing) if dealing else ()
        sample = tuple(sorted(self._sample))
        return FileMap(self._rows, self._stride, tuple(self._marks), sample, before)

    def _before(self, dealing: Dealing) -> tuple[tuple[int, ...], ...]:
        import numpy as np

        places = dealing.places()
        rows = np.arange(len(self._marks)) * self._stride
        counts = [np.cumsum(np.append(0, places == place))[rows] for place in range(len(SPLITS))]
        return tuple(tuple(map(int, each)) for each in zip(*counts, strict=True))


class LabelTally:
    """Which of a few short answers each row has, while they are few and short; two bytes a row."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] | None = {}
        self._rows = array("H")

    def add(self, answer: str) -> None:
        if self._numbers is None:
            return
        number = self._numbers.setdefault(answer, len(self._numbers))
        if number >= MOST_LABELS or len(answer) > LONGEST_LABEL:
            self._numbers, self._rows = None, array("H")
        else:
            self._rows.append(number)

    def by_split(self, dealing: Dealing) -> Mapping[str, Mapping[str, int]]:
        import numpy as np

        if not self._numbers:
            return {}
        places = dealing.places()
        rows = np.frombuffer(self._rows, dtype=np.uint16)
        width = len(self._numbers)
        counts = np.bincount(rows + places * np.int64(width), minlength=width * len(SPLITS))
        table = counts.reshape(len(SPLITS), width)
        found = {
            label: {split: int(table[place, number]) for place, split in enumerate(SPLITS)}
            for label, number in self._numbers.items()
        }
        return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


class Tally:
    """All of it. `dealing` says afterwards which row is in which split."""

    def __init__(self) -> None:
        self.dealing = Dealing()
        self.rows = 0
        self._keys = array("Q")
        self._whole, self._prompt, self._answer = LengthTally(), LengthTally(), LengthTally()
        self._labels = LabelTally()
        self._longest: list[tuple[int, int, str]] = []
        self._files: dict[str, FileTally] = {}

    def add(self, example: Example, file: str, stated: str, place: tuple[int, int] | None) -> None:
        """Count a row.

        Args:
            example: What it says.
            file: The split its file is for; "all" for a single file.
            stated: The split it is in, if it says so.
            place: Its line and first byte in the stored file, if it is stored.
        """
        self.rows += 1
        self.dealing.add(prompt_key(example), stated)
        self._keys.append(row_key(example))
        prompt = sum(len(message.content) for message in example.prompt)
        whole = prompt + len(example.answer) + len(example.rejected)
        self._prompt.add(prompt)
        self._answer.add(len(example.answer))
        self._whole.add(whole)
        self._labels.add(example.answer)
        if place is not None:
            self._note_place(file, whole, *place)

    def _note_place(self, file: str, characters: int, line: int, offset: int) -> None:
        if file not in self._files:
            self._files[file] = FileTally()
        self._files[file].add(offset)
        if len(self._longest) < LONGEST_ROWS or characters > self._longest[0][0]:
            insort(self._longest, (characters, -line, file))
            del self._longest[:-LONGEST_ROWS]

    def duplicates(self) -> int:
        """Rows that say what an earlier one says."""
        return self.rows - len(different(self._keys))

    def split_sizes(self) -> dict[str, int]:
        """Rows of each split."""
        import numpy as np

        if not self.rows:
            return dict.fromkeys(SPLITS, 0)
        counts = np.bincount(self.dealing.places(), minlength=len(SPLITS))
        return {split: int(counts[place]) for place, split in enumerate(SPLITS)}

    def profile(self, read_as: str) -> Profile:
        if not self.rows:
            return Profile(read_as=read_as)
        found = sorted(self._longest, reverse=True)
        return Profile(
            whole=self._whole.lengths(),
            prompt=self._prompt.lengths(),
            answer=self._answer.lengths(),
            duplicates=self.duplicates(),
            distinct_prompts=self.dealing.different_prompts(),
            leaked_prompts=self.dealing.leaked_prompts(),
            labels=self._labels.by_split(self.dealing),
            longest=tuple(LongRow(file, -line, count) for count, line, file in found),
            cuts=self.dealing.cuts(),
            files={
                split: found.file_map(self.dealing if split == "all" else None)
                for split, found in self._files.items()
            },
            read_as=read_as,
        )
