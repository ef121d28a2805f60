"""Datasets: checked by streaming, split deterministically, read as examples. Imports no torch.

A dataset is one file, which is split 80 : 10 : 10 by the hash of its prompts unless its rows
name their split, or a folder with train.jsonl, validation.jsonl, test.jsonl and dataset.json.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from labs.contract import N_, BadData
from labs.dataset_check import Check, Notice, Verdict, read_example
from labs.files.keeper import Keeper
from labs.files.kinds import read_file
from labs.files.rows import Problem, Row
from labs.formats import Example, Message
from labs.splits import SPLITS, combined, deal, label_names, split_files, stated_split

__all__ = [
    "Example",
    "Message",
    "Notice",
    "Problem",
    "Splits",
    "Verdict",
    "fingerprint",
    "inspect",
    "read_splits",
]

LISTED_PROBLEMS = 20
# While a dataset is checked each row costs 19 bytes of hashes; what learns from it holds the text.
LARGEST_ROWS = 5_000_000


@dataclass(frozen=True, slots=True)
class Splits:
    """Examples to learn from, to choose by, and to judge by; no prompt is in two of them."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    format: str


def inspect(
    path: Path,
    listed: int = LISTED_PROBLEMS,
    max_rows: int = LARGEST_ROWS,
    *,
    name: str = "",
    keeper: Keeper | None = None,
) -> Verdict:
    """Check a dataset without holding its text; never raises for what a file may contain.

    Args:
        path: A file of any kind, or a folder with a .jsonl file for each split.
        listed: How many problems the verdict lists; all are counted.
        max_rows: Rows beyond this many are a problem.
        name: What the file is called, where that is not what its path says.
        keeper: Takes the rows down as JSON Lines, for a file of another kind. What it has
            written is all of them only if the verdict is good.
    """
    check = Check(listed, max_rows, label_names(path), keeper)
    files = split_files(path)
    for split, file in files.items():
        check.read(split, file, name)
    called = name or path.name
    if not files:
        check.refuse(called, "There is no .jsonl file here.")
    elif set(files) not in ({"all"}, set(SPLITS)):
        lacking = ", ".join(f"{split}.jsonl" for split in SPLITS if split not in files)
        check.refuse(called, "The folder lacks {files}.", files=lacking)
    profile, warnings = check.end(called, is_single=set(files) == {"all"})
    return Verdict(
        format=check.format.name if check.format else "",
        format_title=check.format.title if check.format else "",
        rows=check.tally.rows,
        splits=check.tally.split_sizes(),
        problems=tuple(check.problems),
        problem_count=check.problem_count,
        warnings=tuple(warnings),
        sha256=keeper.sha256 if keeper else fingerprint(path),
        bytes=keeper.bytes if keeper else sum(file.stat().st_size for file in files.values()),
        preview=tuple(check.preview),
        file_format=check.kind.name if check.kind else "",
        profile=profile,
    )


def read_splits(path: Path, seed: int = 0) -> Splits:
    """Read a checked dataset into memory; raises `BadData` at the first bad row."""
    files = split_files(path)
    if not files:
        raise BadData("There is no dataset “{name}”.", name=path.name)
    labels = label_names(path)
    reading = {split: _Reading(file, labels) for split, file in files.items()}
    formats = {name for each in reading.values() for name in each.formats}
    if len(formats) != 1:
        raise BadData("“{name}” has no rows, or rows of several formats.", name=path.name)
    parts = {split: each.examples for split, each in reading.items()}
    if set(reading) == {"all"}:
        parts = deal(reading["all"].examples, reading["all"].stated, seed)
    return Splits(**{name: tuple(parts.get(name, ())) for name in SPLITS}, format=formats.pop())


def fingerprint(path: Path) -> str:
    """sha256 of a dataset's rows: of the file, or of its split files in order."""
    digests = {}
    for split, file in split_files(path).items():
        with file.open("rb") as content:
            digests[split] = hashlib.file_digest(content, "sha256").hexdigest()
    return combined(digests)


class _Reading:
    """The examples of one file, the split that each names, and the formats that were met."""

    def __init__(self, file: Path, labels: tuple[str, ...]) -> None:
        self.examples: list[Example] = []
        self.stated: list[str] = []
        self.formats: set[str] = set()
        for row in read_file(file)[1]:
            found = row if isinstance(row, Problem) else read_example(row, labels)
            if isinstance(found, Problem):
                message = N_("{file}, line {line}: {reason}")
                raise BadData(message, file=found.file, line=found.line, reason=str(found))
            assert isinstance(row, Row)
            self.formats.add(found[0].name)
            self.examples.append(found[1])
            self.stated.append(stated_split(row.value))
