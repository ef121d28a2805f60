"""BitFit in plain torch, as the paper writes it: train the bias vectors, freeze all else.

        x ── W (frozen) ── + ── h
                           │
                           b (trained)

The lab trains the model's own bias vectors; what it leaves is how far each of them moved.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from labs.peft.bitfit.parts import Biases, is_chosen


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """h = W x + b (Ben Zaken et al. 2021, arXiv:2106.10199, section 3).

    W carries no gradient, b does.

    Args:
        x: Inputs, (..., in).
        weight: W, (out, in).
        bias: b, (out,).

    Returns:
        (..., out).
    """
    return x @ weight.T + bias


def bias_gradient(gradient: Tensor) -> Tensor:
    """∂loss/∂b = Σ over rows and positions of ∂loss/∂h, (..., out) to (out,).

    The input x does not occur in it, so a layer whose W is frozen need not keep x.
    """
    return gradient.flatten(end_dim=-2).sum(dim=0)


def chosen(names: Iterable[str], biases: Biases) -> tuple[str, ...]:
    """Names of the bias vectors that are trained; empty where a model has none of them."""
    return tuple(name for name in names if name.endswith(".bias") and is_chosen(name, biases))


def delta(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Δb = b - b₀ of each trained bias, (out,): all that a task has to store.

    In float32, so that steps smaller than the rounding of a 16-bit base are not lost.
    """
    return {name: after[name].float() - before[name].float() for name in after}


def apply(weights: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with b₀ + Δb in place of b₀; what no delta names stays the same tensor."""
    moved = {
        name: (weights[name].float() + step).to(weights[name]) for name, step in change.items()
    }
    return {**weights, **moved}


def amount_of_change(change: Tensor) -> float:
    """(1 / dim b) · ‖b₀ - b‖₁, the measure of the paper's figure 1: the mean absolute step."""
    return float(change.abs().mean())


def key_bias_shift(query: Tensor, key_bias: Tensor) -> Tensor:
    """What b_k adds to the scores of a query before the softmax, (..., 1).

    q·(W_k x + b_k) = q·W_k x + q·b_k: the last term is the same for every x, and a softmax
    does not see it. So b_k learns nothing, unless positions rotate keys after it is added (RoPE).

    Args:
        query: (..., head_dim).
        key_bias: b_k of one head, (head_dim,).
    """
    return torch.sum(query * key_bias, dim=-1, keepdim=True)


def count_parameters(layers: int, lengths: Iterable[int], outside: int = 0) -> int:
    """Trained numbers: layers · Σ dim(b) over the biases of one layer, and those outside layers."""
    return layers * sum(lengths) + outside
