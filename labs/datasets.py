"""Datasets: checked by streaming, split deterministically, read as examples. Imports no torch.

On disk a dataset is one .jsonl file, which is split 80 : 10 : 10 by the hash of its
prompts, or a folder with train.jsonl, validation.jsonl, test.jsonl and dataset.json.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labs.contract import BadData
from labs.dataset_check import Check, Notice, Verdict, read_example
from labs.formats import Example, Format, Message
from labs.jsonl import Problem, read_rows
from labs.splits import SPLITS, combined, deal, label_names, split_files

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
# Each row costs about 200 bytes of digests while a dataset is checked.
LARGEST_ROWS = 250_000


@dataclass(frozen=True, slots=True)
class Splits:
    """Examples to learn from, to choose by, and to judge by; no prompt is in two of them."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    format: str


def inspect(path: Path, listed: int = LISTED_PROBLEMS, max_rows: int = LARGEST_ROWS) -> Verdict:
    """Check a dataset without holding its text; never raises for what a file may contain.

    Args:
        path: A .jsonl file, or a folder with one file for each split.
        listed: How many problems the verdict lists; all are counted.
        max_rows: Rows beyond this many are a problem.
    """
    check = Check(listed, max_rows, label_names(path))
    for split, file in split_files(path).items():
        check.read(split, file)
    return check.verdict(path)


def read_splits(path: Path, seed: int = 0) -> Splits:
    """Read a checked dataset into memory; raises `BadData` at the first bad row."""
    labels = label_names(path)
    files = split_files(path)
    if not files:
        raise BadData("There is no dataset “{name}”.", name=path.name)
    rows = {split: list(_examples(file, labels)) for split, file in files.items()}
    formats = {form.name for found in rows.values() for form, _ in found}
    if len(formats) != 1:
        raise BadData("“{name}” has no rows, or rows of several formats.", name=path.name)
    parts = {split: [example for _, example in found] for split, found in rows.items()}
    if set(parts) == {"all"}:
        parts = deal(parts["all"], seed)
    return Splits(**{name: tuple(parts.get(name, ())) for name in SPLITS}, format=formats.pop())


def fingerprint(path: Path) -> str:
    """sha256 of a dataset's rows: of the file, or of its split files in order."""
    digests = {}
    for split, file in split_files(path).items():
        with file.open("rb") as content:
            digests[split] = hashlib.file_digest(content, "sha256").hexdigest()
    return combined(digests)


def _examples(file: Path, labels: tuple[str, ...]) -> Iterator[tuple[Format, Example]]:
    for row in read_rows(file):
        found = row if isinstance(row, Problem) else read_example(row, labels)
        if isinstance(found, Problem):
            raise BadData(
                "{file}, line {line}: {reason}",
                file=found.file,
                line=found.line,
                reason=str(found),
            )
        yield found
