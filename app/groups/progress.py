"""How far the runs of a group are."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.models import Run, RunState
from app.models.runs import OVER


@dataclass(frozen=True, slots=True)
class Progress:
    """How many runs of a group are in each state; states without any are left out."""

    states: Mapping[RunState, int]

    def count(self, state: RunState) -> int:
        return self.states.get(state, 0)

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def over(self) -> int:
        return sum(count for state, count in self.states.items() if state in OVER)

    @property
    def live(self) -> int:
        return sum(count for state, count in self.states.items() if state.is_live)

    @property
    def is_over(self) -> bool:
        return self.over == self.total


def progress_of(runs: Iterable[Run]) -> Progress:
    """The same of runs that were read already."""
    return Progress(Counter(run.state for run in runs))
