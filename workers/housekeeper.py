"""Puts right, every second, what a lost message or a dead worker left. Works without the broker.

Each chore stands alone: one that fails is told in the log and tried again at the next turn.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app import broker
from app.runs.dispatch import fill_devices
from app.runs.repricing import reprice
from app.settings import get_settings
from app.storage.tidy import tidy
from workers import canaries, chores, downloads, leases, pressure

log = logging.getLogger(__name__)
TURN_SECONDS = 1.0


@dataclass(slots=True)
class Chore:
    """Something to do again and again, `every` so many seconds."""

    do: Callable[[], Any]
    every: float = TURN_SECONDS
    due: float = field(default=0.0)


def serve() -> int:
    """Keep house until SIGTERM; returns the exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    broker.warm()
    todo = all_chores()
    while not over.wait(TURN_SECONDS):
        take_turn(todo, time.monotonic())
    return 0


def all_chores() -> list[Chore]:
    """What this housekeeper does, in the order of a turn."""
    sweeper = leases.Sweeper(get_settings().lease.total_seconds())
    return [
        Chore(sweeper.sweep),
        Chore(chores.take_over_estimates, every=10.0),
        Chore(reprice, every=10.0),
        Chore(fill_devices),
        Chore(chores.ring_again, every=2.0),
        Chore(canaries.send_all, every=canaries.EVERY_SECONDS),
        Chore(pressure.resume_held, every=5.0),
        Chore(chores.Merger().merge_metrics, every=5.0),
        Chore(chores.forget_sessions, every=600.0),
        Chore(tidy, every=300.0),
        Chore(downloads.Fetcher().take_turn, every=2.0),
    ]


def take_turn(todo: list[Chore], now: float) -> None:
    """Do what is due."""
    for chore in todo:
        if now < chore.due:
            continue
        chore.due = now + chore.every
        try:
            chore.do()
        except Exception:
            # The border of this process: a hiccup of the database must not end housekeeping.
            log.exception("%s failed; it is tried again", chore.do.__qualname__)
