"""The check of a dataset: one pass, counts and 16-byte digests only. Imports no torch."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labs.contract import Json
from labs.formats import LABELLED, Example, Format, Mismatch, recognise
from labs.jsonl import Problem, Row, read_rows
from labs.splits import SPLITS, combined, places, prompt_key, row_key

PREVIEW_ROWS = 5
DUPLICATES_WARNED = 0.05
DUPLICATES_REFUSED = 0.5


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know of a dataset that can be used all the same."""

    message: str
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message.format(**self.values)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check of a dataset found. `problems` lists the first of `problem_count`."""

    format: str
    format_title: str
    rows: int
    splits: dict[str, int]
    problems: tuple[Problem, ...]
    problem_count: int
    warnings: tuple[Notice, ...]
    sha256: str
    bytes: int
    preview: tuple[Example, ...]

    @property
    def ok(self) -> bool:
        """Whether the dataset can be used."""
        return self.problem_count == 0


def read_example(
    row: Row, labels: tuple[str, ...], expected: Format | None = None
) -> tuple[Format, Example] | Problem:
    """The format and the example of a row, or why it has none.

    Args:
        row: A row of the file.
        labels: Names of numbered labels.
        expected: The format of the rows above, to say which column is missing.
    """
    form = recognise(row.value)
    if form is None:
        return _unknown_columns(row, expected)
    try:
        return form, form.read(row.value, labels)
    except Mismatch as mismatch:
        return Problem(row.file, row.line, mismatch.message, mismatch.values)


def _unknown_columns(row: Row, expected: Format | None) -> Problem:
    if expected is None:
        columns = ", ".join(sorted(row.value))[:200] or "none"
        return Problem(
            row.file, row.line, "The columns fit no known format: {columns}.", {"columns": columns}
        )
    missing = next(column for column in expected.columns if column not in row.value)
    return Problem(row.file, row.line, "The column “{column}” is missing.", {"column": missing})


class Check:
    """The running state of one check: counts and 16-byte digests, no text but the preview."""

    def __init__(self, listed: int, max_rows: int, labels: tuple[str, ...]) -> None:
        self.listed = listed
        self.max_rows = max_rows
        self.labels = labels
        self.format: Format | None = None
        self.counts = Counter[str]()
        self.prompts: dict[bytes, int] = {}
        self.owners: dict[bytes, str] = {}
        self.rows_seen: set[bytes] = set()
        self.duplicates = 0
        self.leaked = 0
        self.answers: set[str] = set()
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.bytes = 0
        self.digests: dict[str, str] = {}
        self.preview: list[Example] = []

    def read(self, split: str, file: Path) -> None:
        digest = hashlib.sha256()
        before = self.counts.total() + self.problem_count
        for row in read_rows(file, digest):
            self._take(split, row)
        self.digests[split] = digest.hexdigest()
        self.bytes += file.stat().st_size
        if self.counts.total() + self.problem_count == before:
            self._refuse(Problem(file.name, 0, "The file has no rows."))

    def _take(self, split: str, row: Row | Problem) -> None:
        found = row if isinstance(row, Problem) else read_example(row, self.labels, self.format)
        if isinstance(found, Problem):
            self._refuse(found)
            return
        assert isinstance(row, Row)
        form, example = found
        self.format = self.format or form
        if form.name != self.format.name:
            values = {"first": self.format.title, "found": form.title}
            self._refuse(
                Problem(
                    row.file, row.line, "Rows above are “{first}”, this one is “{found}”.", values
                )
            )
            return
        self._count(split, example)

    def _count(self, split: str, example: Example) -> None:
        self.counts[split] += 1
        if len(self.preview) < PREVIEW_ROWS:
            self.preview.append(example)
        if len(self.answers) < 2:
            self.answers.add(example.answer)
        if self.counts.total() > self.max_rows:
            return
        self._note_keys(split, example)

    def _note_keys(self, split: str, example: Example) -> None:
        row, prompt = row_key(example), prompt_key(example)
        self.duplicates += row in self.rows_seen
        self.rows_seen.add(row)
        if split == "all":
            self.prompts[prompt] = self.prompts.get(prompt, 0) + 1
        else:
            self.leaked += self.owners.setdefault(prompt, split) != split

    def _refuse(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < self.listed:
            self.problems.append(problem)

    def verdict(self, path: Path) -> Verdict:
        warnings = self._whole_file(path)
        return Verdict(
            format=self.format.name if self.format else "",
            format_title=self.format.title if self.format else "",
            rows=self.counts.total(),
            splits=self._split_sizes(),
            problems=tuple(self.problems),
            problem_count=self.problem_count,
            warnings=tuple(warnings),
            sha256=combined(self.digests),
            bytes=self.bytes,
            preview=tuple(self.preview),
        )

    def _split_sizes(self) -> dict[str, int]:
        if set(self.digests) != {"all"}:
            return {split: self.counts[split] for split in SPLITS}
        place = places(sorted(self.prompts))
        sizes = Counter[str]()
        for prompt, rows in self.prompts.items():
            sizes[place[prompt]] += rows
        return {split: sizes[split] for split in SPLITS}

    def _whole_file(self, path: Path) -> list[Notice]:
        """What only the whole tells: too many rows, one label, too few prompts, duplicates."""
        rows = self.counts.total()
        if not self.digests:
            self._refuse(Problem(path.name, 0, "There is no .jsonl file here."))
        if set(self.digests) not in ({"all"}, set(SPLITS)) and self.digests:
            lacking = ", ".join(f"{name}.jsonl" for name in SPLITS if name not in self.digests)
            self._refuse(Problem(path.name, 0, "The folder lacks {files}.", {"files": lacking}))
        if rows > self.max_rows:
            values: Json = {"rows": rows, "limit": self.max_rows}
            self._refuse(
                Problem(
                    path.name,
                    0,
                    "The dataset has {rows} rows; at most {limit} are allowed.",
                    values,
                )
            )
        if rows and "all" in self.digests and len(self.prompts) < 3:
            self._refuse(
                Problem(
                    path.name,
                    0,
                    "At least three different prompts are needed: to learn, to choose and to judge by.",
                )
            )
        if rows > 1 and self.format and self.format.name in LABELLED and len(self.answers) == 1:
            values = {"label": next(iter(self.answers))[:80]}
            self._refuse(
                Problem(
                    path.name,
                    0,
                    "Every row has the label “{label}”: there is nothing to learn.",
                    values,
                )
            )
        return self._repetition(path, rows)

    def _repetition(self, path: Path, rows: int) -> list[Notice]:
        warnings = []
        share = self.duplicates / rows if rows else 0.0
        values = {"rows": self.duplicates, "percent": round(100 * share)}
        if share > DUPLICATES_REFUSED:
            self._refuse(
                Problem(path.name, 0, "{percent} % of the rows repeat an earlier one.", values)
            )
        elif share > DUPLICATES_WARNED:
            warnings.append(Notice("{rows} rows ({percent} %) repeat an earlier one.", values))
        if self.leaked:
            warnings.append(
                Notice(
                    "{rows} prompts stand in more than one split: results on them say little.",
                    {"rows": self.leaked},
                )
            )
        return warnings
