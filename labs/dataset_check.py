"""The check of a dataset: one pass, counts and hashes only. Imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labs.contract import N_
from labs.files.keeper import Keeper, TooMuch
from labs.files.kinds import Kind, read_file
from labs.files.rows import Bad, Problem, Row
from labs.formats import LABELLED, Example, Format, Mismatch, recognise
from labs.profile import Profile
from labs.splits import SPLIT_COLUMN, SPLITS, stated_split
from labs.tally import Tally

PREVIEW_ROWS = 5
# Nobody corrects more by hand, and a file of nothing else is not read to its end.
MOST_PROBLEMS = 10_000
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
    """What the check of a dataset found.

    `problems` lists the first of `problem_count`; counting ends at `MOST_PROBLEMS`. Hash and
    bytes are those of the stored rows; `file_format` is the kind of file they came in.
    """

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
    file_format: str = "jsonl"
    profile: Profile = field(default_factory=Profile)

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


class _Enough(Exception):
    """No further row can change the verdict."""


class Check:
    """The running state of one check: counts and hashes, no text but the preview.

    `add` takes rows in, `end` looks at the whole; what was found stands in the attributes.
    """

    def __init__(
        self, listed: int, max_rows: int, labels: tuple[str, ...], keeper: Keeper | None = None
    ) -> None:
        self.listed = listed
        self.max_rows = max_rows
        self.labels = labels
        self.keeper = keeper
        self.format: Format | None = None
        self.kind: Kind | None = None
        self.tally = Tally()
        self.states_splits: bool | None = None
        self.answers: set[str] = set()
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.preview: list[Example] = []

    def read(self, split: str, file: Path, name: str = "") -> None:
        """Take in the rows of a file: of one split, or of "all"."""
        before = self.tally.rows + self.problem_count
        self.kind, rows = read_file(file, name)
        try:
            for row in rows:
                self._take(split, row)
        except _Enough:
            return
        if self.tally.rows + self.problem_count == before:
            self.refuse(name or file.name, "The file has no rows.")

    def _take(self, split: str, row: Row | Problem) -> None:
        found = row if isinstance(row, Problem) else read_example(row, self.labels, self.format)
        if isinstance(found, Problem):
            self._note(found)
            return
        assert isinstance(row, Row)
        try:
            form, example = found
            self._expect(form)
            stated = self._stated(row) if split == "all" else split
            place = self._place(row, form)
        except TooMuch as much:
            self._note(much.at(row.file, row.line))
            raise _Enough from much
        except Bad as bad:
            self._note(bad.at(row.file, row.line))
            return
        self._count(row.file, split, example, stated, place)

    def _expect(self, form: Format) -> None:
        self.format = self.format or form
        if form.name != self.format.name:
            values = {"first": self.format.title, "found": form.title}
            raise Bad("Rows above are “{first}”, this one is “{found}”.", **values)

    def _stated(self, row: Row) -> str:
        """The split that the row names; all rows do, or none."""
        stated = stated_split(row.value)
        if self.states_splits is None:
            self.states_splits = bool(stated)
        if self.states_splits and not stated:
            value = str(row.value.get(SPLIT_COLUMN, ""))[:40]
            message = N_("The split “{value}” is none of: {known}.")
            raise Bad(message, value=value, known=", ".join(SPLITS))
        return stated if self.states_splits else ""

    def _place(self, row: Row, form: Format) -> tuple[int, int] | None:
        """Line and first byte of the row where it is stored, if it is."""
        if self.keeper is not None and self.problem_count == 0:
            return self.keeper.write(row.value, form)
        return (row.line, row.offset) if self.kind and self.kind.name == "jsonl" else None

    def _count(
        self, file: str, split: str, example: Example, stated: str, place: tuple[int, int] | None
    ) -> None:
        if self.tally.rows >= self.max_rows:
            self.refuse(file, "There are more than {limit} rows.", limit=self.max_rows)
            raise _Enough
        self.tally.add(example, split, stated, place)
        if len(self.preview) < PREVIEW_ROWS:
            self.preview.append(example)
        if len(self.answers) < 2:
            self.answers.add(example.answer)

    def _note(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < self.listed:
            self.problems.append(problem)
        if self.problem_count >= MOST_PROBLEMS:
            raise _Enough

    def refuse(self, file: str, message: str, **values: Any) -> None:
        """Note what is wrong with a file as a whole."""
        self.problem_count += 1
        if len(self.problems) < self.listed:
            self.problems.append(Problem(file, 0, message, values))

    def end(self, name: str, is_single: bool) -> tuple[Profile, list[Notice]]:
        """What only the whole tells: one label, too few prompts, empty splits, repetitions."""
        kind = self.kind
        read_as = "" if kind is None or kind.name != "txt" else "lines"
        if kind is not None and kind.name == "txt" and kind.by_paragraph:
            read_as = "paragraphs"
        profile = self.tally.profile(read_as)
        rows = self.tally.rows
        if is_single and rows and profile.distinct_prompts < 3:
            self.refuse(
                name,
                "At least three different prompts are needed: to learn, to choose and to judge by.",
            )
        if rows > 1 and self.format and self.format.name in LABELLED and len(self.answers) == 1:
            label = next(iter(self.answers))[:80]
            message = N_("Every row has the label “{label}”: there is nothing to learn.")
            self.refuse(name, message, label=label)
        notices = self._splits(name, is_single) if rows else []
        return profile, [*notices, *self._repetition(name, profile)]

    def _splits(self, name: str, is_single: bool) -> list[Notice]:
        if not is_single or not self.states_splits:
            return []
        if not self.tally.dealing.follows_rows:
            message = N_("All rows name the same split; they are dealt 80 : 10 : 10 all the same.")
            return [Notice(message)]
        for split, rows in self.tally.split_sizes().items():
            if rows == 0:
                self.refuse(name, "No row is in the split “{split}”.", split=split)
        return []

    def _repetition(self, name: str, profile: Profile) -> list[Notice]:
        rows = self.tally.rows
        share = profile.duplicates / rows if rows else 0.0
        values = {"rows": profile.duplicates, "percent": round(100 * share)}
        notices = []
        if share > DUPLICATES_REFUSED:
            self.refuse(name, "{percent} % of the rows repeat an earlier one.", **values)
        elif share > DUPLICATES_WARNED:
            notices.append(Notice("{rows} rows ({percent} %) repeat an earlier one.", values))
        if profile.leaked_prompts:
            message = N_("{rows} prompts stand in more than one split: results on them say little.")
            notices.append(Notice(message, {"rows": profile.leaked_prompts}))
        return notices
