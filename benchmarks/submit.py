"""From the click to the first training step."""

import json
import time
import urllib.request

from benchmarks.box import Box, running
from benchmarks.report import Row, spread

BODY = {"lab": "lora", "params": {"steps": 10}, "stages": ["setup", "train"], "seed": 1}


def measure() -> list[Row]:
    """Submit to first logged training step, with the forkserver warm."""
    logged, seen = [], []
    with running() as box:
        for _ in range(6):
            at_trainer, at_client = _once(box)
            logged.append(at_trainer)
            seen.append(at_client)
    return [
        Row("submit → step 1 logged", spread(logged[1:], "s"), "1.5 s", "POST /runs to events.jsonl"),
        Row("submit → step 1 seen", spread(seen[1:], "s"), "–", "POST /runs to the event stream"),
        Row("the very first run of a worker", f"{logged[0]:.3g} s", "–", "same, once"),
    ]  # fmt: skip


def _once(box: Box) -> tuple[float, float]:
    began = time.time()
    run = box.call("/runs", BODY)
    seen = _first_step_in_stream(box, run["id"]) - began
    box.wait(run["id"])
    lines = (box.home / "runs" / run["id"] / "events.jsonl").read_text().splitlines()
    events = (json.loads(line) for line in lines)
    logged = next(e["t"] for e in events if e["kind"] == "metrics" and "train/loss" in e["values"])
    return logged - began, seen


def _first_step_in_stream(box: Box, run_id: str) -> float:
    request = urllib.request.Request(
        f"{box.url}/api/v1/runs/{run_id}/events", headers={"Authorization": f"Bearer {box.token}"}
    )
    with urllib.request.urlopen(request, timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data:") and b"train/loss" in line:
                return time.time()
    raise RuntimeError("the stream ended before the first training step")
