"""What the estimate predicts for a run against what its process was seen to hold."""

import multiprocessing
import os
import random
import string
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

import labs.trainer
from benchmarks.report import Row
from labs import bundled, registry
from labs.datasets import read_splits
from labs.estimate import Lengths, estimate
from labs.models import read_facts
from labs.runspec import Resource, RunSpec, write_params

SAMPLE_SECONDS = 0.01
ROWS, STEPS, SEED = 200, 2, 7
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """A run that is small in one respect and large in another."""

    name: str
    model: str = "base"
    words: int = 40
    params: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("as it comes"),
    Case("1 row", params={"batch_size": 1}),
    Case("32 rows", params={"batch_size": 32}),
    Case("64 rows", params={"batch_size": 64}),
    Case("32 longer rows", words=120, params={"batch_size": 32, "max_length": 1024}),
    Case("cut to 64 tokens", words=120, params={"batch_size": 32, "max_length": 64}),
    Case("rank 128", params={"batch_size": 32, "rank": 128}),
    Case("two modules", params={"batch_size": 32, "target_modules": "q_proj, v_proj"}),
    Case("dropout", params={"batch_size": 32, "dropout": 0.1}),
    Case("DoRA", params={"batch_size": 32, "variant": "dora"}),
    Case("checkpointing", params={"batch_size": 32, "gradient_checkpointing": True}),
    Case("NF4", params={"batch_size": 32, "base_quantization": "nf4"}),
    Case("bf16", params={"batch_size": 32, "precision": "bf16"}),
    Case("8 layers", model="teacher", params={"batch_size": 32}),
    Case("2 layers", model="student", params={"batch_size": 32}),
)


def measure() -> list[Row]:
    """Predicted and measured peak memory of trainers of the bundled models, by configuration.

    Measured is the memory of the trainer's own (USS), each 10 ms, of the stages setup and train.
    """
    forge = _forkserver()
    rows, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(CASES):
            predicted, peak = _compare(forge, case, Path(folder) / str(number))
            ratios.append(peak / predicted)
            told = f"{predicted / MIB:.0f} → {peak / MIB:.0f} MiB, × {peak / predicted:.2f}"
            rows.append(Row(case.name, told, "–", f"{case.model} {_words(case)}"))
            print(f"{case.name}: {told}", flush=True)
    spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, n={len(ratios)})"
    return [*rows, Row("measured ÷ predicted", spread, "0.67 to 1.25", "all of the above")]


def _words(case: Case) -> str:
    return ", ".join(f"{name}={value}" for name, value in case.params.items()) or "defaults"


def _forkserver() -> multiprocessing.context.ForkServerContext:
    os.environ["OMP_WAIT_POLICY"] = "passive"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(labs.trainer.PRELOAD))
    return context


def _compare(
    forge: multiprocessing.context.ForkServerContext, case: Case, folder: Path
) -> tuple[int, int]:
    """Predicted and measured peak in bytes."""
    folder.mkdir()
    lab = registry.get("lora")
    given = {"steps": STEPS, "max_length": 512, "evaluation_interval": STEPS, **case.params}
    params = lab.params.model_validate(given)
    model = bundled.models()[case.model]
    dataset = _dataset(folder / "rows.jsonl", case.words)
    spec = RunSpec(
        run_id="measured", attempt=1, lab=lab.slug, stages=("setup", "train"),
        params=params.model_dump(mode="json"), seed=SEED, device="cpu", threads=1,
        base_model=Resource(case.model, str(model)), dataset=Resource("rows", str(dataset)),
    )  # fmt: skip
    write_params(folder / "run", spec)
    predicted = estimate(lab, read_facts(model), params, "cpu", _lengths(dataset, model))
    return predicted.total_bytes, _peak(forge, folder / "run")


def _dataset(path: Path, words: int) -> Path:
    """Prompts of so many short words, with answers a tenth as long."""
    draw = random.Random(SEED)
    lines = [
        f'{{"prompt": "{_text(draw, words)}", "completion": "{_text(draw, words // 10)}"}}\n'
        for _ in range(ROWS)
    ]
    path.write_text("".join(lines))
    return path


def _text(draw: random.Random, words: int) -> str:
    return " ".join("".join(draw.choices(string.ascii_lowercase, k=3)) for _ in range(words))


def _lengths(dataset: Path, model: Path) -> Lengths:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    found = [
        (
            len(tokenizer.encode(example.prompt[-1].content).ids),
            len(tokenizer.encode(example.answer).ids),
        )
        for example in read_splits(dataset).train
    ]
    # The template's own tokens around prompt and answer.
    whole = [prompt + answer + 12 for prompt, answer in found]
    answers = sum(answer + 1 for _, answer in found) / sum(whole)
    return Lengths(sum(whole) / len(whole), max(whole), answers)


def _peak(forge: multiprocessing.context.ForkServerContext, run_dir: Path) -> int:
    process = forge.Process(target=labs.trainer.main, args=(str(run_dir),))
    process.start()
    peak = 0
    seen = psutil.Process(process.pid)
    pause = threading.Event()
    while process.is_alive():
        try:
            peak = max(peak, seen.memory_full_info().uss)
        except psutil.Error:
            break
        pause.wait(SAMPLE_SECONDS)
    process.join()
    assert process.exitcode == 0, (run_dir / "output.log").read_text()[-2000:]
    return peak
