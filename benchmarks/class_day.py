"""A simulated class: our turns against plain first come, first served."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from benchmarks.afternoon import DEVICES, HOURS, START, STUDENTS, Wish, wishes
from benchmarks.clockwork import RESTART_SECONDS, SAVE_SECONDS, SLOWDOWN, Clockwork, Day, Policy
from benchmarks.picture import Axis, Curve, write
from benchmarks.report import Row, spread

POLICIES = (
    Policy("Bunsen"),
    Policy("FIFO, same packing", is_fifo=True),
    Policy("FIFO, one run a device", is_fifo=True, slots=1),
)
SEEDS = range(1, 4)
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "class-day.svg"
EVENING = START + timedelta(hours=HOURS)


def measure() -> list[Row]:
    """300 students, 8 devices, an afternoon: a simulation with a clock of its own, of assumed work."""
    days = {
        policy: [Clockwork(policy, wishes(seed), [EVENING]).run() for seed in SEEDS]
        for policy in POLICIES
    }
    _draw(days)
    return [row for policy, found in days.items() for row in _rows(policy, found)]


def _rows(policy: Policy, days: Sequence[Day]) -> list[Row]:
    def row(what: str, unit: str, figure: Callable[[Day], float], how: str) -> Row:
        return Row(f"{policy.name}: {what}", spread([figure(day) for day in days], unit), "–", how)

    first = "a student's first submission to the first start of any of their runs"
    every = "time in the queue, returns to it included"
    assumed = f"{STUDENTS} students, assumed work (benchmarks/afternoon.py)"
    rows = [
        row("first run, median wait", "min", lambda day: _median(first_waits(day)), first),
        row("first run, p95 wait", "min", lambda day: _p95(first_waits(day)), first),
        row("first run, longest wait", "min", lambda day: max(first_waits(day)), first),
        row("all runs, median wait", "min", lambda day: _median(_waits(day)), every),
        row("all runs, p95 wait", "min", lambda day: _p95(_waits(day)), every),
        row("fairness (Jain)", "", fairness, "of device-seconds received ÷ wanted by the end of the afternoon, among students who submitted as many runs; 1 is equal"),
        row("all done after", "h", _hours, assumed),
        row("devices in use", "%", _in_use, "device time with a run on it, first submission to last end; each further run on a device slows all there by "f"{SLOWDOWN:.0%} (assumed)"),
    ]  # fmt: skip
    if policy.is_fifo:
        return rows
    cost = f"saving {SAVE_SECONDS:g} s and starting again {RESTART_SECONDS:g} s each (assumed)"
    return [
        *rows,
        row("runs that made room", "", lambda day: float(day.preemptions), cost),
        row("time lost by making room", "%", _lost, f"of all device time given; {cost}"),
    ]


def first_waits(day: Day) -> list[float]:
    """Minutes from each student's first submission to their first start."""
    asked: dict[UUID, datetime] = {}
    began: dict[UUID, datetime] = {}
    for job in day.jobs:
        student = job.wish.student
        asked[student] = min(asked.get(student, job.wish.at), job.wish.at)
        began[student] = min(began.get(student, job.starts[0]), job.starts[0])
    return [(began[student] - at).total_seconds() / 60 for student, at in asked.items()]


def fairness(day: Day) -> float:
    """Jain's index of the share of the wanted device-seconds that people had got; mean by people.

    (Σx)² / (n Σx²), Jain, Chiu and Hawe 1984, among students who had submitted as many runs by
    the end of the afternoon; x is device-seconds received by then over those wanted.
    """
    received = day.received[EVENING]
    total = people = 0.0
    for wanted in _equals(day).values():
        shares = [min(1.0, received.get(student, 0.0) / each) for student, each in wanted.items()]
        total += jain(shares) * len(shares)
        people += len(shares)
    return total / people


def jain(shares: Sequence[float]) -> float:
    """1 when all are equal, 1/n when one has everything; 1 when nobody has anything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def _equals(day: Day) -> Mapping[int, dict[UUID, float]]:
    """By how many runs they submitted in the afternoon: students, and the seconds they wanted."""
    runs: dict[UUID, list[Wish]] = defaultdict(list)
    for job in day.jobs:
        if job.wish.at < EVENING:
            runs[job.wish.student].append(job.wish)
    groups: dict[int, dict[UUID, float]] = defaultdict(dict)
    for student, own in runs.items():
        groups[len(own)][student] = sum(wish.seconds for wish in own)
    return groups


def _waits(day: Day) -> list[float]:
    return [job.waited / 60 for job in day.jobs]


def _hours(day: Day) -> float:
    return (_last_end(day) - START).total_seconds() / 3600


def _in_use(day: Day) -> float:
    span = (_last_end(day) - day.jobs[0].wish.at).total_seconds()
    return 100 * day.busy_seconds / (DEVICES * span)


def _lost(day: Day) -> float:
    return 100 * day.lost_seconds / day.given_seconds


def _last_end(day: Day) -> datetime:
    return max(job.ended for job in day.jobs if job.ended is not None)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def _draw(days: Mapping[Policy, Sequence[Day]]) -> None:
    curves = [_curve(policy, found) for policy, found in days.items()]
    longest = max(curve.xs[-1] for curve in curves)
    write(
        PICTURE,
        "How long students wait until their first run starts",
        f"Simulated: {STUDENTS} students, {DEVICES} devices, {len(SEEDS)} afternoons, assumed work",
        Axis("wait (minutes)", 30 * -(-longest // 30), 30),
        Axis("students whose first run has started (%)", 100, 25),
        curves,
    )


def _curve(policy: Policy, days: Sequence[Day]) -> Curve:
    """How many of all students had started within each time; 200 points are enough."""
    waits = sorted(wait for day in days for wait in first_waits(day))
    chosen = [round(number * (len(waits) - 1) / 200) for number in range(201)]
    shares = [100 * (number + 1) / len(waits) for number in chosen]
    return Curve(policy.name, [0.0, *(waits[n] for n in chosen)], [0.0, *shares])
