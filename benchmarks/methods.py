"""What it costs to train under Bunsen: each method against a plain script, in turn."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, update_wrapper
from itertools import pairwise
from typing import Any

from benchmarks.box import ROOT, Box, running
from benchmarks.report import Row, spread
from labs import bundled, registry
from labs.contract import Lab

NAME = "methods"
METHODS = (
    "lora", "adapter", "prompt_tuning", "prefix_tuning", "ia3", "bitfit", "p_tuning",
    "p_tuning_v2", "full",
)  # fmt: skip
STEPS, SEED, ROUNDS = 60, 7, 5
CHANGED = {"steps": STEPS, "evaluation_interval": 10_000}


@dataclass(frozen=True)
class Training:
    """Seconds from the end of each step to the end of the next, and the last loss."""

    intervals: list[float]
    loss: float


def measurements() -> dict[str, Callable[[], list[Row]]]:
    """One for each method, so that each can be measured anew: `python -m benchmarks methods ia3`."""
    found = {}
    for slug in METHODS:
        measure = partial(_measure, slug)
        update_wrapper(measure, _measure)
        measure.__doc__ = f"Training of `{slug}` under Bunsen against a plain script, in turn."
        found[f"{NAME} {slug}"] = measure
    return found


def chosen(words: Sequence[str]) -> list[str]:
    """The measurements that words of a command line mean, where `methods` stands for a family."""
    if NAME not in words:
        return list(words)
    others = [word for word in words if word != NAME and word not in METHODS]
    methods = [word for word in words if word in METHODS] or METHODS
    return [*others, *(f"{NAME} {method}" for method in methods)]


def _measure(slug: str) -> list[Row]:
    lab = registry.get(slug)
    params = lab.params(**CHANGED).model_dump(mode="json")
    ours, plain = [], []
    with running() as box:
        _under_bunsen(box, lab, params)  # the first run of a worker waits for its forkserver
        for _ in range(ROUNDS):
            ours.append(_under_bunsen(box, lab, params))
            plain.append(_plain(lab, params))
    ratios = [sum(a.intervals) / sum(b.intervals) for a, b in zip(ours, plain, strict=True)]
    least = undisturbed(ours) / undisturbed(plain)
    apart = statistics.median(abs(a.loss - b.loss) for a, b in zip(ours, plain, strict=True))
    loss, size = plain[0].loss, params["batch_size"]
    return [
        Row("Bunsen ÷ plain script", f"{least:.3f} ×", "1.02", f"{STEPS} steps of {size} rows, each step's least of {ROUNDS} trainings"),
        Row("the same, a pair at a time", spread(ratios, "×"), "–", "whole trainings, with whatever else the machine did"),
        Row("under Bunsen", spread([sum(t.intervals) for t in ours], "s"), "–", "end of first to end of last step"),
        Row("plain script", spread([sum(t.intervals) for t in plain], "s"), "–", "same"),
        Row("difference of the last loss", f"{apart:.2g}", "noise", f"same rows, order, seed; the loss is {loss:.3g}"),
    ]  # fmt: skip


def undisturbed(trainings: Sequence[Training]) -> float:
    """Seconds of a training in which nothing else ran: every step sees the same rows each time."""
    return sum(map(min, zip(*(training.intervals for training in trainings), strict=True)))


def _under_bunsen(box: Box, lab: Lab, params: dict[str, Any]) -> Training:
    body = {"lab": lab.slug, "params": params, "stages": ["setup", "train"], "seed": SEED}
    run = box.wait(box.call("/runs", body)["id"])
    assert run["state"] == "succeeded", run
    lines = (box.home / "runs" / run["id"] / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    steps = [e for e in events if e["kind"] == "metrics" and "train/loss" in e["values"]]
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    return Training(gaps([step["t"] for step in steps]), steps[-1]["values"]["train/loss"])


def _plain(lab: Lab, params: dict[str, Any]) -> Training:
    rows = bundled.datasets()[lab.default_dataset] / "train.jsonl"
    model = bundled.models()[lab.default_model]
    words = [lab.slug, str(model), str(rows), str(SEED), json.dumps(params)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.plain", *words],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return Training(gaps(found["ends"]), found["loss"])


def gaps(ends: Sequence[float]) -> list[float]:
    """Seconds from the end of each step to the end of the next."""
    return [after - before for before, after in pairwise(ends)]
