"""The colour of a run: the same in every comparison, told apart also by its dashes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

COLOURS = 8
DASHES = 4
# Colours of the palette (--series-0 … in tokens.css) that look alike at a glance.
KIN = {0: {4, 5}, 1: {6, 7}, 2: {4, 6}, 3: {5, 7}, 4: {0, 2}, 5: {0, 3}, 6: {1, 2}, 7: {1, 3}}


@dataclass(frozen=True, slots=True)
class Mark:
    """How a run's lines are drawn: numbers of a colour and of a dash pattern."""

    colour: int
    dash: int


def marks(ids: Sequence[UUID]) -> dict[UUID, Mark]:
    """A mark for each run. The id chooses the colour; one that is taken gives way to a free one."""
    chosen: dict[UUID, Mark] = {}
    taken: list[int] = []
    for place, run_id in enumerate(ids):
        wish = run_id.int % COLOURS
        round_ = place // COLOURS
        free = [colour for colour in _from(wish) if taken.count(colour) <= round_]
        apart = [colour for colour in free if not KIN[colour].intersection(taken)]
        colour = (apart or free)[0]
        taken.append(colour)
        chosen[run_id] = Mark(colour, place % DASHES)
    return chosen


def _from(wish: int) -> list[int]:
    return [(wish + step) % COLOURS for step in range(COLOURS)]
