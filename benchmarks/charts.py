"""Chart data out of the API."""

import json
import time
import urllib.request
from uuid import UUID

from benchmarks.box import Box, running
from benchmarks.history import SPIKE, add_run, database_of
from benchmarks.report import Row, spread

STEPS = 100_000


def measure() -> list[Row]:
    """Chart data of 100,000 steps x 8 metrics, reduced to 1,000 points each, over HTTP."""
    with running() as box:
        with database_of(box.home):
            run_id = add_run(STEPS)
        series = box.call(f"/runs/{run_id}/metrics?points=1000")["series"]
        kept = SPIKE in series["train/loss"]["values"]
        every = [_seconds(box, run_id, "") for _ in range(30)]
        one = [_seconds(box, run_id, "&keys=train/loss") for _ in range(30)]
    return [
        Row(f"{STEPS:,} steps x 8 metrics", spread(every, "ms", 1e3), "25 ms", "GET …/metrics?points=1000"),
        Row("one of the metrics", spread(one, "ms", 1e3), "–", "GET …/metrics?points=1000&keys=…"),
        Row("the one spike is in the answer", "yes" if kept else "NO", "yes", "value 999 at one step"),
    ]  # fmt: skip


def _seconds(box: Box, run_id: UUID, more: str) -> float:
    request = urllib.request.Request(
        f"{box.url}/api/v1/runs/{run_id}/metrics?points=1000{more}",
        headers={"Authorization": f"Bearer {box.token}"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request) as reply:
        body = reply.read()
    seconds = time.perf_counter() - began
    assert json.loads(body)["series"]["train/loss"]["total"] == STEPS
    return seconds
