"""GPTQ and Wanda per layer against GPTQModel and LLM Compressor."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from app.machine import find_gpus
from app.settings import get_settings
from benchmarks.report import Row, spread
from setup.engines import find_engine

ROOT = Path(__file__).resolve().parent.parent
ENGINE = {"gptq": "GPTQModel", "wanda": "LLM Compressor"}
ROUNDS = 7
# The bundled base's smallest and largest matrix and one that keeps a core busy, out × in.
SHAPES = [(256, 256), (512, 256), (256, 512), (1024, 1024)]
# Attention, and both ways through the feed-forward part, of a model of seven billion.
LARGE = [(4096, 4096), (11008, 4096), (4096, 11008)]
TOKENS, LARGE_TOKENS = 32 * 128, 128 * 2048


def measure() -> list[Row]:
    """Seconds of one matrix: ours ÷ the reference engine, in turn in one process."""
    python = find_engine(get_settings().home, "compress")
    if python is None:
        advice = "the engines are not set up: `bunsen doctor --install compress`"
        return [Row("ours ÷ engine", "not measured", "1", advice)]
    rows = [row for each in _found(python, SHAPES, TOKENS, "cpu", ROUNDS) for row in _rows(each)]
    if not find_gpus().devices:
        return [*rows, Row("7B-shaped layer", "not measured", "1", "no GPU here")]
    large = _found(python, LARGE, LARGE_TOKENS, "cuda", 3)
    return [*rows, *(row for each in large for row in _rows(each))]


def _found(
    python: Path, shapes: list[tuple[int, int]], tokens: int, device: str, rounds: int
) -> list[Any]:
    cases = [[method, shape, tokens] for method in ENGINE for shape in shapes]
    asked = {"threads": 1, "device": device, "rounds": rounds, "cases": cases}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [python, "-W", "ignore", "-m", "benchmarks.plain.layers", json.dumps(asked)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _rows(found: Any) -> list[Row]:
    """The least of each arm is what an undisturbed machine needs; pairs say how noisy it was."""
    ours, theirs = zip(*found["pairs"], strict=True)
    outputs, inputs = found["shape"]
    what = f"{found['method']} {outputs} × {inputs}: ours ÷ {ENGINE[found['method']]}"
    least = f"{min(ours) / min(theirs):.2f} ×"
    ratios = [a / b for a, b in found["pairs"]]
    errors = "error of the output {:.4f} and {:.4f}".format(*found["errors"])
    how = f"{found['tokens']} tokens; least {min(ours):.3g} and {min(theirs):.3g} s; {errors}"
    return [Row(what, least, "1", how), Row("the same, a pair at a time", spread(ratios, "×"), "–", "whatever else the machine did")]  # fmt: skip
