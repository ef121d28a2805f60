"""How often each label stands in a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

from labs.profile import Profile
from labs.splits import SPLITS

SHOWN = 20
# One label this many times as frequent as another makes accuracy say little.
UNEVEN = 10


@dataclass(frozen=True, slots=True)
class LabelCount:
    """A label, its rows in all and in each split."""

    label: str
    rows: int
    by_split: Sequence[int]


@dataclass(frozen=True, slots=True)
class LabelBalance:
    """The most frequent labels, and how many rows the others have together."""

    splits: Sequence[str]
    labels: Sequence[LabelCount]
    others: int
    other_rows: int
    total: int
    is_uneven: bool

    @property
    def largest(self) -> int:
        """Rows of the most frequent one: the whole length of a bar."""
        return self.labels[0].rows


def label_balance(profile: Profile) -> LabelBalance | None:
    """The balance of the labels; None where the answers are no labels, or all the same."""
    splits = [
        split for split in SPLITS if any(split in counts for counts in profile.labels.values())
    ]
    found = [
        LabelCount(label, sum(counts.values()), [counts.get(split, 0) for split in splits])
        for label, counts in profile.labels.items()
    ]
    if len(found) < 2:
        return None
    found.sort(key=lambda each: -each.rows)
    rest = found[SHOWN:]
    return LabelBalance(
        splits=splits,
        labels=found[:SHOWN],
        others=len(rest),
        other_rows=sum(each.rows for each in rest),
        total=sum(each.rows for each in found),
        is_uneven=found[0].rows > UNEVEN * found[-1].rows,
    )
