"""What it costs to train under Bunsen."""

import json
import os
import statistics
import subprocess
import sys
from itertools import pairwise

from benchmarks.box import ROOT, Box, running
from benchmarks.report import Row, spread
from labs import bundled

STEPS, BATCH, SEED, PAIRS = 80, 16, 7, 5
PARAMS = {
    "steps": STEPS, "batch_size": BATCH, "evaluation_interval": 10_000, "learning_rate": 5e-3,
    "rank": 8, "alpha": 16, "schedule": "cosine", "warmup_fraction": 0.05,
}  # fmt: skip


def measure() -> list[Row]:
    """Training under Bunsen against the same loop as a plain peft script, in turn."""
    ours, plain, differences = [], [], []
    with running() as box:
        for _ in range(PAIRS):
            seconds, loss = _under_bunsen(box)
            ours.append(seconds)
            alone = _plain()
            plain.append(alone["seconds"])
            differences.append(abs(loss - alone["loss"]))
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    return [
        Row("Bunsen ÷ plain script", spread(ratios, "×"), "1.02", f"{STEPS} steps of {BATCH} rows, {PAIRS} pairs"),
        Row("seconds under Bunsen", spread(ours, "s"), "–", "end of first to end of last step"),
        Row("seconds of the plain script", spread(plain, "s"), "–", "same"),
        Row("difference of the last loss", f"{statistics.median(differences):.2g}", "noise", "same rows, order, seed"),
    ]  # fmt: skip


def _under_bunsen(box: Box) -> tuple[float, float]:
    body = {"lab": "lora", "params": PARAMS, "stages": ["setup", "train"], "seed": SEED}
    run = box.call("/runs", body)
    box.wait(run["id"])
    lines = (box.home / "runs" / run["id"] / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    steps = [e for e in events if e["kind"] == "metrics" and "train/loss" in e["values"]]
    assert [b["step"] - a["step"] for a, b in pairwise(steps)] == [1] * (STEPS - 1)
    return steps[-1]["t"] - steps[0]["t"], steps[-1]["values"]["train/loss"]


def _plain() -> dict[str, float]:
    rows = bundled.datasets()[bundled.DEFAULT_DATASET] / "train.jsonl"
    model = bundled.models()[bundled.DEFAULT_MODEL]
    words = [str(model), str(rows), str(STEPS), str(BATCH), str(SEED)]
    done = subprocess.run(
        [sys.executable, "benchmarks/plain_lora.py", *words],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
