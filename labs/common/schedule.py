"""How many steps, and the learning rate of each."""

import math

from labs.common.params import TrainingParams


def total_steps(params: TrainingParams, rows: int) -> int:
    """Optimizer updates of a whole training; `epochs` decides when it is set."""
    if params.epochs is None:
        return params.steps
    per_step = params.batch_size * params.gradient_accumulation
    return max(1, math.ceil(params.epochs * rows / per_step))


def learning_rate(params: TrainingParams, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 1: linear warm-up, then the schedule to zero."""
    warmup = round(params.warmup_fraction * steps)
    if step <= warmup:
        return params.learning_rate * step / warmup
    done = (step - 1 - warmup) / max(1, steps - warmup)
    match params.schedule:
        case "constant":
            share = 1.0
        case "linear":
            share = 1.0 - done
        case "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * done))
    return params.learning_rate * share
