"""Full fine-tuning has no module of its own: its method is the optimizer, AdamW.

What it costs follows from this file: for every weight a gradient and two moments are kept.
"""

from dataclasses import dataclass

from torch import Tensor

FLOAT32 = 4
# Weight, gradient, first and second moment.
KEPT_PER_WEIGHT = 4


@dataclass(frozen=True, slots=True)
class Moments:
    """Running means of a weight's gradient and of its square, each of the weight's shape."""

    first: Tensor
    second: Tensor


def adamw_step(
    weight: Tensor,
    gradient: Tensor,
    moments: Moments,
    step: int,
    rate: float,
    decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> tuple[Tensor, Moments]:
    """One update of AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2).

    m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²
    w ← w - η · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) - η · decay · w

    The decay acts on the weight itself, not through the gradient: torch's form, in which the
    rate scales it too.

    Args:
        weight: w, any shape.
        gradient: g, of the same shape.
        moments: Zero before the first step.
        step: t, from 1.
        rate: η, the learning rate of this step.
        decay: Weight decay; 0 for vectors.

    Returns:
        The new weight and the new moments.
    """
    beta1, beta2 = betas
    first = beta1 * moments.first + (1 - beta1) * gradient
    second = beta2 * moments.second + (1 - beta2) * gradient**2
    direction = first / (1 - beta1**step)
    size = (second / (1 - beta2**step)).sqrt() + epsilon
    moved = weight - rate * decay * weight - rate * direction / size
    return moved, Moments(first, second)


def state_bytes(parameters: int, trained: int) -> int:
    """Bytes of weights, gradients and moments in float32, without activations.

    16 for each trained number, 4 for each frozen one; so it is 16 · N for full fine-tuning.
    """
    return FLOAT32 * (parameters + (KEPT_PER_WEIGHT - 1) * trained)
