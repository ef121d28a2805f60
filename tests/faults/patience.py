"""Waiting for what must come, and never for a time to pass."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

# P3 says 90 s for the usual leases; those of a box are shorter, and its cores may be busy.
PATIENCE_SECONDS = 90.0
# A worker with real trainers imports torch before it is ready.
START_SECONDS = 180.0
TICK_SECONDS = 0.02


def eventually(
    holds: Callable[[], Any], why: str | Callable[[], str], seconds: float = PATIENCE_SECONDS
) -> Any:
    """Poll until something is true; returns it. A database that is away is not true yet."""
    deadline = time.monotonic() + seconds
    while not (found := _attempt(holds)):
        if time.monotonic() > deadline:
            told = why if isinstance(why, str) else why()
            raise AssertionError(f"{told}, even after {seconds:.0f} s")
        time.sleep(TICK_SECONDS)
    return found


def _attempt(holds: Callable[[], Any]) -> Any:
    try:
        return holds()
    except SQLAlchemyError:
        return None


def hold(seconds: float) -> None:
    """Let a fault last: the one wait that is for a time, because the time is the fault."""
    time.sleep(seconds)
