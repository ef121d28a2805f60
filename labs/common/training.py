"""The training loop of all labs that minimize a loss over rows."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from labs.common.batches import Batch, rows_of_step
from labs.common.formatting import Encoded
from labs.common.learners import Answers, Evaluation, Learner, Loss, Objective, Reporter
from labs.common.loss import answer_loss, autocast, count_targets
from labs.common.memory import allocated_bytes, peak_bytes, synchronize
from labs.common.params import TrainingParams
from labs.common.schedule import learning_rate, total_steps
from labs.common.state import Decays, TrainingState, never
from labs.contract import Diverged


@dataclass(frozen=True, slots=True)
class Fit:
    """What a training came to. The model holds the weights of `best_step` afterwards."""

    steps: int
    best_step: int
    best_loss: float
    stopped_early: bool


@dataclass(frozen=True, slots=True)
class _Pupil:
    learner: Learner
    state: TrainingState


def fit(
    model: nn.Module,
    rows: Sequence[Encoded],
    pad: int,
    params: TrainingParams,
    run: Reporter,
    evaluate: Evaluation,
    evaluate_base: Evaluation | None = None,
    decays: Decays = never,
) -> Fit:
    """Train the parameters of a model that require a gradient; keep the best by validation loss.

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
    objective = Answers(rows, pad, run.device)
    learner = Learner(model, objective, evaluate, evaluate_base, decays)
    return fit_together({"": learner}, params, run)[""]


def fit_together(
    learners: Mapping[str, Learner], params: TrainingParams, run: Reporter
) -> dict[str, Fit]:
    """Train models side by side, step by step; keep the best of each by validation loss.

    Evaluates before the first step (step 0 is the baseline) and at every evaluation
    interval, where it also saves a checkpoint of all; resumes from the newest one, with the same
    losses as an undisturbed run. All take the same steps; where `epochs` decides how many, the
    rows of the first learner count. Patience is over when it is over for each of them.

    Args:
        learners: By the name of their folder in a checkpoint.
        params: Steps, rates and sizes.
        run: Where it logs and saves.

    Raises:
        Diverged: If a loss becomes not-a-number or infinite.
        Stopped: If somebody asked for it; a checkpoint has been saved.
    """
    steps = total_steps(params, next(iter(learners.values())).objective.count)
    pupils = {
        name: _Pupil(each, TrainingState(each.model, params, run.device, each.decays))
        for name, each in learners.items()
    }
    states = [pupil.state for pupil in pupils.values()]
    save = partial(_save, pupils)
    reached = _begin(pupils, run)
    while reached < steps and not _patience_is_over(states, params):
        if run.stopping():
            run.checkpoint(reached, save)
            run.check_stop()
        reached += 1
        for pupil in pupils.values():
            _step(pupil, params, run, steps)
        run.progress(reached, steps, "training")
        if reached % params.evaluation_interval == 0 or reached == steps:
            for pupil in pupils.values():
                _evaluate(pupil, run)
            run.checkpoint(reached, save)
    for state in states:
        state.restore_best()
    return {
        name: Fit(reached, p.state.best_step, p.state.best_loss, reached < steps)
        for name, p in pupils.items()
    }


def _begin(pupils: Mapping[str, _Pupil], run: Reporter) -> int:
    found = run.latest_checkpoint()
    if found is not None:
        step, folder = found
        for name, pupil in pupils.items():
            pupil.state.load(folder / name)
        run.resumed(step)
        return step
    for pupil in pupils.values():
        if pupil.learner.evaluate_base is None:
            _evaluate(pupil, run)
        else:
            # The loss of the base says nothing about the fresh weights: it cannot be their best.
            run.log(0, pupil.learner.named(pupil.learner.evaluate_base()))
    return 0


def _save(pupils: Mapping[str, _Pupil], folder: Path) -> None:
    for name, pupil in pupils.items():
        (folder / name).mkdir(exist_ok=True)
        pupil.state.save(folder / name)


def _patience_is_over(states: Sequence[TrainingState], params: TrainingParams) -> bool:
    patience = params.early_stopping_patience
    return 0 < patience <= min(state.evaluations_without_gain for state in states)


def _evaluate(pupil: _Pupil, run: Reporter) -> None:
    values = pupil.learner.evaluate()
    run.log(pupil.state.step, pupil.learner.named(values))
    pupil.state.note_evaluation(values["eval/loss"])


def _step(pupil: _Pupil, params: TrainingParams, run: Reporter, steps: int) -> None:
    state, objective = pupil.state, pupil.learner.objective
    state.step += 1
    started = time.perf_counter()
    batches = _batches(objective, params, state.step, run.seed)
    rate = learning_rate(params, state.step, steps)
    loss, norm = update(state, batches, params, rate, objective.loss)
    synchronize(run.device)
    seconds = time.perf_counter() - started
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    values = {
        "train/loss": loss,
        "train/learning_rate": rate,
        "train/grad_norm": norm,
        "time/step_seconds": seconds,
        "throughput/tokens_per_second": tokens / seconds,
        "memory/allocated_bytes": allocated_bytes(run.device),
        "memory/peak_bytes": peak_bytes(run.device),
        **objective.parts(),
    }
    run.log(state.step, pupil.learner.named(values))
    if not math.isfinite(loss):
        raise Diverged(
            "The loss became {value} at step {step}. Lower the learning rate or the gradient clipping; with fp16, try bf16 or fp32.",
            value=str(loss),
            step=state.step,
        )


def _batches(objective: Objective, params: TrainingParams, step: int, seed: int) -> list[Batch]:
    per_step = params.batch_size * params.gradient_accumulation
    chosen = rows_of_step(objective.count, per_step, step, seed)
    starts = range(0, per_step, params.batch_size)
    return [objective.batch(chosen[start : start + params.batch_size]) for start in starts]


def update(
    state: TrainingState,
    batches: Sequence[Batch],
    params: TrainingParams,
    rate: float,
    loss_of: Loss = answer_loss,
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
            part = loss_of(state.model, batch) / tokens
        state.scaler.scale(part).backward()
        loss += float(part.detach())
    state.scaler.unscale_(state.optimizer)
    norm = float(torch.nn.utils.clip_grad_norm_(state.trainable.values(), params.gradient_clipping))
    if math.isfinite(loss):
        state.take_step(rate)
    return loss, norm
