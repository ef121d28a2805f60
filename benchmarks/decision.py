"""Ten thousand waiting runs and 64 devices: how long a decision takes."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.runs import turns
from app.runs.dispatch import MOST_AT_ONCE
from app.runs.places import Live, Place, Waiting
from app.runs.preemption import FRONT, make_room
from app.runs.scheduling import Plan, choose, explain
from benchmarks.report import Row, spread

WAITING, DEVICES, SLOTS, PEOPLE = 10_000, 64, 4, 300
GIB = 1 << 30
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SIZES = [2 * GIB, 4 * GIB, 6 * GIB, 10 * GIB, 20 * GIB]
LIMIT = "20 ms"


def measure() -> list[Row]:
    """10,000 waiting runs of 300 people, 64 devices of 4 slots: one decision, and around it."""
    waiting, use = queue(), {UUID(int=n): 10.0 * n for n in range(PEOPLE)}
    sites = {
        "all devices full": _site(SLOTS),
        "a place free on each, memory scarce": _site(SLOTS - 1, used=7 * GIB),
        "all devices empty": _site(0),
    }
    rows = []
    for name, places in sites.items():
        times = times_of(
            lambda places=places: choose(waiting, places, use, NOON, most=MOST_AT_ONCE)
        )
        how = f"choose, at most {MOST_AT_ONCE} placed, as the dispatcher asks; CPU time"
        rows.append(Row(f"decision, {name}", spread(times, "ms", 1000), LIMIT, how))
    full = sites["all devices full"]

    def planned() -> Plan:
        return choose(waiting, full, use, NOON)

    steps: dict[str, Callable[[Plan], Any]] = {
        "the whole line in order": lambda plan: plan.left,
        "whom to ask to make room": lambda plan: make_room(
            plan.front(FRONT), plan.places, use, NOON
        ),
        "explain the first 200": lambda plan: explain(plan, NOON, first=200),
        "explain all": lambda plan: explain(plan, NOON),
        "the terms of all": lambda plan: turns.terms(waiting, full, use, NOON),
    }
    for name, step in steps.items():
        rows.append(Row(name, spread(times_of(step, planned), "ms", 1000), "–", "CPU time"))
    return rows


def times_of(step: Callable[..., Any], prepare: Callable[[], Any] | None = None) -> list[float]:
    times = []
    for _ in range(9):
        given = (prepare(),) if prepare else ()
        began = time.process_time()
        step(*given)
        times.append(time.process_time() - began)
    return times[2:]


def queue() -> list[Waiting]:
    """In the order of age also in memory, as rows are read."""
    dice = random.Random(1)
    ages = sorted((dice.uniform(0, 7200) for _ in range(WAITING)), reverse=True)
    return [
        Waiting(
            UUID(int=10_000 + number),
            UUID(int=dice.randrange(PEOPLE)),
            NOON - timedelta(seconds=age),
            dice.choice(SIZES),
            (60.0, dice.uniform(120, 1800)),
        )
        for number, age in enumerate(ages)
    ]


def _site(runs: int, used: int = 4 * GIB) -> list[Place]:
    return [_place(number, runs, used) for number in range(DEVICES)]


def _place(number: int, runs: int, used: int) -> Place:
    live = [
        Live(
            UUID(int=number * SLOTS + n),
            UUID(int=(number * SLOTS + n) % PEOPLE),
            used,
            (NOON + timedelta(minutes=1 + n), NOON + timedelta(minutes=9 + n)),
            since=NOON - timedelta(minutes=30),
            queued_at=NOON - timedelta(minutes=40),
        )
        for n in range(runs)
    ]
    return Place(f"cuda:{number}", "cuda", 24 * GIB, SLOTS, tuple(live))
