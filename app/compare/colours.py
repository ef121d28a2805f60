"""The colour of a run: the same in every comparison, told apart also by its dashes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

COLOURS = 8
DASHES = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """How a run's lines are drawn: numbers of a colour and of a dash pattern."""

    colour: int
    dash: int


def marks(ids: Sequence[UUID]) -> dict[UUID, Mark]:
    """A mark for each run. The id chooses the colour; a taken one gives way to the next free."""
    chosen: dict[UUID, Mark] = {}
    taken: list[int] = []
    for place, run_id in enumerate(ids):
        wish = run_id.int % COLOURS
        round_ = place // COLOURS
        free = [c for c in _from(wish) if taken.count(c) <= round_]
        colour = free[0]
        taken.append(colour)
        chosen[run_id] = Mark(colour, place % DASHES)
    return chosen


def _from(wish: int) -> list[int]:
    return [(wish + step) % COLOURS for step in range(COLOURS)]
