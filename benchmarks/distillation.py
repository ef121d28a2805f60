"""What it costs to distil under Bunsen: the same lesson under Bunsen and by a plain script, in turn."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.box import ROOT, Box, running
from benchmarks.methods import Training, gaps, undisturbed
from benchmarks.report import Row, spread
from labs import bundled, registry

STEPS, SEED, ROUNDS = 60, 7, 5
# One student, soft labels from the disk; how they come there is no part of a step.
CHANGED = {
    "steps": STEPS, "evaluation_interval": 10_000, "compare_alone": False, "teacher_steps": 20,
    "unlabelled_rows": 128,
}  # fmt: skip
STAGES = ["setup", "prepare_data", "distill"]


def measure() -> list[Row]:
    """Distillation under Bunsen against a plain script, in turn."""
    lab = registry.get("distillation")
    params = lab.params(**CHANGED).model_dump(mode="json")
    ours, plain = [], []
    with running() as box:
        for _ in range(ROUNDS):
            folder, trained = _under_bunsen(box, params)
            ours.append(trained)
            plain.append(_plain(folder / "artifacts" / "soft_labels" / "lesson.safetensors", params))  # fmt: skip
    ratios = [sum(b.intervals) / sum(a.intervals) for a, b in zip(ours, plain, strict=True)]
    least = undisturbed(plain) / undisturbed(ours)
    apart = statistics.median(abs(a.loss - b.loss) for a, b in zip(ours, plain, strict=True))
    loss, size = plain[0].loss, params["batch_size"]
    return [
        Row("steps per second, Bunsen ÷ plain script", f"{least:.3f} ×", "at least 0.95", f"{STEPS} steps of {size} rows, each step's least of {ROUNDS} trainings"),
        Row("the same, a pair at a time", spread(ratios, "×"), "–", "whole trainings, with whatever else the machine did"),
        Row("under Bunsen", spread([sum(t.intervals) for t in ours], "s"), "–", "end of first to end of last step"),
        Row("plain script", spread([sum(t.intervals) for t in plain], "s"), "–", "same"),
        Row("difference of the last loss", f"{apart:.2g}", "noise", f"same rows, order, seed; the loss is {loss:.3g}"),
    ]  # fmt: skip


def _under_bunsen(box: Box, params: dict[str, Any]) -> tuple[Path, Training]:
    body = {"lab": "distillation", "params": params, "stages": STAGES, "seed": SEED}
    run = box.wait(box.call("/runs", body)["id"])
    assert run["state"] == "succeeded", run
    folder = box.home / "runs" / run["id"]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    steps = [e for e in events if e["kind"] == "metrics" and "train/loss" in e["values"]]
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    return folder, Training(gaps([step["t"] for step in steps]), steps[-1]["values"]["train/loss"])


def _plain(lesson: Path, params: dict[str, Any]) -> Training:
    words = [str(bundled.models()["student"]), str(lesson), str(SEED), json.dumps(params)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.plain.distillation", *words],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return Training(gaps(found["ends"]), found["loss"])
