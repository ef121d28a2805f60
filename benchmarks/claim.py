"""From the accepted run to its trainer, with the forkserver warm."""

import json
from datetime import datetime

from benchmarks.box import Box, running
from benchmarks.report import Row, spread

BODY = {"lab": "lora", "params": {"steps": 1}, "stages": ["setup"]}
TIMES = 12


def measure() -> list[Row]:
    """Assigned, claimed, started: the way of a run to its own process."""
    assigned, started = [], []
    with running() as box:
        for seed in range(TIMES):
            to_claim, to_trainer = _once(box, seed)
            assigned.append(to_claim)
            started.append(to_trainer)
    return [
        Row("assigned → claimed", spread(assigned[1:], "ms", 1e3), "–", "bell, then one UPDATE"),
        Row("claimed → trainer runs", spread(started[1:], "ms", 1e3), "100 ms", "to its first event's time"),
    ]  # fmt: skip


def _once(box: Box, seed: int) -> tuple[float, float]:
    run_id = box.call("/runs", {**BODY, "seed": seed})["id"]
    attempt = box.wait(run_id)["attempts"][0]
    assigned, claimed = (_seconds(attempt[name]) for name in ("assigned_at", "started_at"))
    with (box.home / "runs" / run_id / "events.jsonl").open() as file:
        first = json.loads(file.readline())
    return claimed - assigned, first["t"] - claimed


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
