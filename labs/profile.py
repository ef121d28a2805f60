"""What a dataset is like, counted while it is checked: lengths, labels, repetitions, places.

The check writes it with `Profile.stored`, pages read it with `Profile.read`. It is small
whatever the size of the dataset: at most a few hundred numbers. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from labs.formats import Example
from labs.splits import prompt_key

Json = dict[str, Any]
MARKS = 256
SAMPLED_ROWS = 400
LONGEST_ROWS = 5
MOST_LABELS = 200
LONGEST_LABEL = 80


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of a text in all rows, in characters (Unicode code points).

    `counts[i]` rows are of at most `limits[i]` and more than `limits[i - 1]` characters.
    Median and the 95th percentile are upper limits of such a bin, at most an eighth too high.
    """

    shortest: int = 0
    mean: float = 0.0
    median: int = 0
    p95: int = 0
    longest: int = 0
    limits: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LongRow:
    """One of the longest rows: where it stands in the stored file, and its characters."""

    split: str
    line: int
    characters: int


@dataclass(frozen=True, slots=True)
class FileMap:
    """Where rows of one stored file begin.

    `marks[i]` is the byte at which row `i * stride` begins (rows count from 0, blank lines do
    not), `sample` holds the first bytes of rows drawn at random, each as likely as any other,
    in the file's order. Of a single file, `before[i]` counts the rows of each split that stand
    before `marks[i]`: for training, to choose by, to judge by.
    """

    rows: int
    stride: int
    marks: tuple[int, ...]
    sample: tuple[int, ...]
    before: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """A dataset in numbers.

    Attributes:
        whole: Characters of prompt and answer together (and of the rejected one) per row.
        prompt: Characters of the prompt; all zero for running text.
        answer: Characters of the answer.
        duplicates: Rows that say exactly what an earlier row says.
        distinct_prompts: How many different prompts there are.
        leaked_prompts: Prompts that stand in more than one split of a folder.
        labels: Rows of each answer by split, the most frequent first, where the answers are few
            (at most 200) and short; else empty.
        longest: The longest rows, the longest first.
        cuts: Where the hash of the prompt puts a row, for a file that states no splits: below
            the first cut it is for training, below the second for validation.
        files: By split ("all" for a single file), where its rows begin.
        read_as: How the file was read: "paragraphs" or "lines" of plain text, else empty.
    """

    whole: Lengths = field(default_factory=Lengths)
    prompt: Lengths = field(default_factory=Lengths)
    answer: Lengths = field(default_factory=Lengths)
    duplicates: int = 0
    distinct_prompts: int = 0
    leaked_prompts: int = 0
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    longest: tuple[LongRow, ...] = ()
    cuts: tuple[int, int] | None = None
    files: Mapping[str, FileMap] = field(default_factory=dict)
    read_as: str = ""

    def split_of(self, example: Example, stated: str = "") -> str:
        """The split an example is in: the stated one, or the one its prompt's hash gives."""
        if stated or self.cuts is None:
            return stated
        key = prompt_key(example)
        return ("train", "validation", "test")[sum(key >= cut for cut in self.cuts)]

    def stored(self) -> Json:
        """As JSON; hashes as texts, since they are wider than what JavaScript counts exactly."""
        cuts = None if self.cuts is None else [f"{cut:016x}" for cut in self.cuts]
        return {**asdict(self), "cuts": cuts}

    @staticmethod
    def read(stored: Json) -> "Profile":
        """What `stored` wrote. A dataset that was checked before there were profiles has none."""
        if not stored:
            return Profile()
        cuts = stored["cuts"]
        return Profile(
            **{
                **stored,
                **{part: _lengths(stored[part]) for part in ("whole", "prompt", "answer")},
                "longest": tuple(LongRow(**row) for row in stored["longest"]),
                "cuts": None if cuts is None else (int(cuts[0], 16), int(cuts[1], 16)),
                "files": {split: _file_map(found) for split, found in stored["files"].items()},
            }
        )


def _lengths(stored: Json) -> Lengths:
    return Lengths(
        **{**stored, "limits": tuple(stored["limits"]), "counts": tuple(stored["counts"])}
    )


def _file_map(stored: Json) -> FileMap:
    before = tuple(tuple(counts) for counts in stored.get("before", ()))
    lists = {"marks": tuple(stored["marks"]), "sample": tuple(stored["sample"])}
    return FileMap(**{**stored, **lists, "before": before})
