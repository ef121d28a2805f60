"""The training loop of all labs that minimize the loss of answers."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from labs.common.batches import Batch, collate, rows_of_step
from labs.common.formatting import Encoded
from labs.common.loss import answer_loss, autocast, count_targets
from labs.common.memory import allocated_bytes, peak_bytes, synchronize
from labs.common.params import TrainingParams
from labs.common.schedule import learning_rate, total_steps
from labs.common.state import Decays, TrainingState, never
from labs.contract import Diverged, LabContext

Evaluation = Callable[[], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Fit:
    """What a training came to. The model holds the weights of `best_step` afterwards."""

    steps: int
    best_step: int
    best_loss: float
    stopped_early: bool


def fit(
    model: nn.Module,
    rows: Sequence[Encoded],
    pad: int,
    params: TrainingParams,
    run: LabContext,
    evaluate: Evaluation,
    evaluate_base: Evaluation | None = None,
    decays: Decays = never,
) -> Fit:
    """Train the parameters of a model that require a gradient; keep the best by validation loss.

    Evaluates before the first step (step 0 is the baseline) and at every evaluation
    interval, where it also saves a checkpoint; resumes from the newest one, with the same
    losses as an undisturbed run.

    Args:
        model: On the device of the run; what is frozen stays untouched.
        rows: Encoded training rows.
        pad: Token id to fill batches with.
        params: Steps, rates and sizes.
        run: Where it logs and saves.
        evaluate: Gives at least "eval/loss", without changing the model.
        evaluate_base: The same for the untouched base, where the model does not start as it.
        decays: Which parameters weight decay pulls towards zero.

    Raises:
        Diverged: If the loss becomes not-a-number or infinite.
        Stopped: If somebody asked for it; a checkpoint has been saved.
    """
    steps = total_steps(params, len(rows))
    state = TrainingState(model, params, run.device, decays)
    _begin(state, run, evaluate, evaluate_base)
    while state.step < steps and not _patience_is_over(state, params):
        _stop_if_asked(state, run)
        _step(state, rows, pad, params, run, steps)
        run.progress(state.step, steps, "training")
        if state.step % params.evaluation_interval == 0 or state.step == steps:
            _evaluate(state, run, evaluate)
            run.checkpoint(state.step, state.save)
    reached = state.step
    state.restore_best()
    return Fit(reached, state.best_step, state.best_loss, reached < steps)


def _begin(
    state: TrainingState, run: LabContext, evaluate: Evaluation, evaluate_base: Evaluation | None
) -> None:
    found = run.latest_checkpoint()
    if found is not None:
        step, folder = found
        state.load(folder)
        run.resumed(step)
    elif evaluate_base is None:
        _evaluate(state, run, evaluate)
    else:
        # The loss of the base says nothing about the fresh weights: it cannot be their best.
        run.log(0, evaluate_base())


def _patience_is_over(state: TrainingState, params: TrainingParams) -> bool:
    return 0 < params.early_stopping_patience <= state.evaluations_without_gain


def _stop_if_asked(state: TrainingState, run: LabContext) -> None:
    if run.stopping():
        run.checkpoint(state.step, state.save)
        run.check_stop()


def _evaluate(state: TrainingState, run: LabContext, evaluate: Evaluation) -> None:
    values = evaluate()
    run.log(state.step, values)
    state.note_evaluation(values["eval/loss"])


def _step(
    state: TrainingState,
    rows: Sequence[Encoded],
    pad: int,
    params: TrainingParams,
    run: LabContext,
    steps: int,
) -> None:
    state.step += 1
    started = time.perf_counter()
    batches = _batches(rows, pad, params, state.step, run)
    rate = learning_rate(params, state.step, steps)
    loss, norm = update(state, batches, params, rate)
    synchronize(run.device)
    seconds = time.perf_counter() - started
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    run.log(
        state.step,
        {
            "train/loss": loss,
            "train/learning_rate": rate,
            "train/grad_norm": norm,
            "time/step_seconds": seconds,
            "throughput/tokens_per_second": tokens / seconds,
            "memory/allocated_bytes": allocated_bytes(run.device),
            "memory/peak_bytes": peak_bytes(run.device),
        },
    )
    if not math.isfinite(loss):
        raise Diverged(
            "The loss became {value} at step {step}. Lower the learning rate or the gradient clipping; with fp16, try bf16 or fp32.",
            value=str(loss),
            step=state.step,
        )


def _batches(
    rows: Sequence[Encoded], pad: int, params: TrainingParams, step: int, run: LabContext
) -> list[Batch]:
    per_step = params.batch_size * params.gradient_accumulation
    chosen = rows_of_step(len(rows), per_step, step, run.seed)
    starts = range(0, per_step, params.batch_size)
    return [
        collate([rows[i] for i in chosen[start : start + params.batch_size]], pad, run.device)
        for start in starts
    ]


def update(
    state: TrainingState, batches: Sequence[Batch], params: TrainingParams, rate: float
) -> tuple[float, float]:
    """One optimizer update over all batches; every target token weighs the same.

    Returns:
        The loss in nats per target token, and the length of the gradient before clipping.
        Nothing is updated when the loss is not finite.
    """
    tokens = max(1, sum(count_targets(batch) for batch in batches))
    if not state.model.training:  # it walks through every module: a hundredth of a small step
        state.model.train()
    state.optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for batch in batches:
        with autocast(params.precision, state.device):
            part = answer_loss(state.model, batch) / tokens
        state.scaler.scale(part).backward()
        loss += float(part.detach())
    state.scaler.unscale_(state.optimizer)
    norm = float(torch.nn.utils.clip_grad_norm_(state.trainable.values(), params.gradient_clipping))
    if math.isfinite(loss):
        state.take_step(rate)
    return loss, norm
