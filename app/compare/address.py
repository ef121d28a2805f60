"""Where runs stand beside each other, and how many of them can."""

from collections.abc import Sequence
from uuid import UUID

MOST_RUNS = 12


def address(ids: Sequence[UUID]) -> str:
    return "/compare?runs=" + ",".join(map(str, ids))
