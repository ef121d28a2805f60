"""Inference: the same prompts through base and tuned model, one in memory at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from labs.common.artifacts import require_artifact
from labs.common.context import with_room
from labs.common.data import Prepared
from labs.common.evaluation import accuracy, held_out_loss, perplexity
from labs.common.latency import GENERATIONS, NEW_TOKENS, WARMUP, Latency
from labs.common.loading import load_tokenizer
from labs.common.memory import peak_bytes, release, reset_peak
from labs.common.seeding import seed_everything
from labs.common.showing import show_latency, show_side_by_side
from labs.common.tuning import Tuning
from labs.contract import Column, Json, LabContext

LATENCY_PROMPTS = 16


@dataclass(frozen=True, slots=True)
class Arm:
    """What one model did on the test split."""

    loss: float
    answers: list[str]
    accuracy: float | None
    latency: Latency
    peak_bytes: int


def inference(tuning: Tuning[Any, Any], run: LabContext) -> Json:
    """Judge base and tuned model on the test split, which nothing was chosen by.

    Reads the method's artifact. Leaves answers side by side, loss and accuracy of both,
    and latency over 100 generations after a warm-up.
    """
    kept = require_artifact(run, tuning.kept, "train")
    tokenizer = load_tokenizer(run.base_model)
    data = tuning.rows(run)
    generations = count()

    def tick() -> None:
        run.check_stop()
        run.progress(next(generations), 2 * (WARMUP + GENERATIONS), "answering one by one")

    base = _judge(tuning, run, tokenizer, data, None, tick)
    tuned = _judge(tuning, run, tokenizer, data, kept, tick)
    run.progress(1, 1, "done")

    arms = {"Base": base, "Tuned": tuned}
    _show_quality(run, arms)
    if data.test_questions:
        show_side_by_side(run, data.test_questions, base.answers, tuned.answers)
    show_latency(
        run, {n: a.latency for n, a in arms.items()}, {n: a.peak_bytes for n, a in arms.items()}
    )
    step = int(run.result("train").get("steps", 0))
    accuracies = {"test/accuracy": tuned.accuracy, "test/base_accuracy": base.accuracy}
    measured = {key: value for key, value in accuracies.items() if value is not None}
    run.log(step, {**measured, **tuned.latency.metrics()})
    return {
        **accuracies,
        "test/loss": tuned.loss,
        "test/base_loss": base.loss,
        **tuned.latency.metrics(),
        "latency/base_mean_seconds": base.latency.mean,
    }


def _judge(
    tuning: Tuning[Any, Any],
    run: LabContext,
    tokenizer: PreTrainedTokenizerBase,
    data: Prepared,
    kept: Path | None,
    tick: Callable[[], None],
) -> Arm:
    """Load one model, ask it everything, and let go of it."""
    reset_peak(run.device)
    seed_everything(run.seed)
    params = tuning.params
    model = tuning.load_base(run) if kept is None else tuning.load_tuned(run, kept)
    found: list[str] = []
    if data.test_questions:
        found = tuning.ask(model, tokenizer, data.test_questions, run.device)
    run.check_stop()
    timed = [row.ids[: max(1, row.prompt_length)] for row in data.test[:LATENCY_PROMPTS]]
    prompts, _ = with_room(model, params, timed, NEW_TOKENS)
    arm = Arm(
        loss=held_out_loss(model, tokenizer, data.test, run.device, params),
        answers=found,
        accuracy=accuracy(found, data.test_questions) if data.matches_answers else None,
        latency=tuning.latency(model, prompts, run.device, tick),
        peak_bytes=peak_bytes(run.device),
    )
    del model
    release(run.device)
    return arm


def _show_quality(run: LabContext, arms: dict[str, Arm]) -> None:
    columns = [
        Column("model", "Model"),
        Column("accuracy", "Exact answers", "fraction"),
        Column("loss", "Loss", "nats per target token"),
        Column("perplexity", "Perplexity"),
    ]
    rows = [[name, arm.accuracy, arm.loss, perplexity(arm.loss)] for name, arm in arms.items()]
    run.table("quality", "Test split: before and after", columns, rows)
