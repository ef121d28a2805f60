"""LoRA, rsLoRA and DoRA in plain torch, as the papers write them.

        x ──┬── W0 (frozen) ──────────┬── + ── h
            └── A (r × in) ── B (out × r) ── · s

The labs train with peft; a test proves that peft computes what stands here.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Variant = Literal["lora", "rslora", "dora"]


def scale(rank: int, alpha: float, variant: Variant) -> float:
    """The factor s before BA.

    LoRA and DoRA: alpha / r (Hu et al. 2021, arXiv:2106.09685, section 4.1).
    rsLoRA: alpha / √r (Kalajdzievski 2023, arXiv:2312.03732, theorem 3.2), with which the
    size of the update does not vanish as r grows.
    """
    return alpha / math.sqrt(rank) if variant == "rslora" else alpha / rank


def lora_forward(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, s: float) -> Tensor:
    """h = W0 x + s · B A x (Hu et al. 2021, arXiv:2106.09685, eq. 3).

    B is zero at the start, so h = W0 x then; A and B carry gradients, W0 does not.

    Args:
        x: Inputs, (..., in).
        weight: W0, (out, in).
        a: (r, in), drawn at random.
        b: (out, r), zero at the start.
        s: See `scale`.

    Returns:
        (..., out).
    """
    return x @ weight.T + s * (x @ a.T @ b.T)


def lora_weight(weight: Tensor, a: Tensor, b: Tensor, s: float) -> Tensor:
    """W0 + s · B A, (out, in): after merging, inference costs what it cost before."""
    return weight + s * (b @ a)


def dora_weight(weight: Tensor, a: Tensor, b: Tensor, s: float, length: Tensor) -> Tensor:
    """W' = m · (W0 + s BA) / ‖W0 + s BA‖ (Liu et al. 2024, arXiv:2402.09353, eq. 5).

    Direction and length of each output row are learned apart. The norm is taken along the
    inputs of each row; in training it is treated as a constant (section 4.3).

    Args:
        weight: W0, (out, in).
        a: (r, in).
        b: (out, r).
        s: See `scale`.
        length: m, (out,); the norms of W0's rows at the start, so that W' = W0 then.
    """
    moved = lora_weight(weight, a, b, s)
    return (length / row_norms(moved)).unsqueeze(1) * moved


def row_norms(weight: Tensor) -> Tensor:
    """L2 norm of each output row, (out,)."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1)
    return norms


def singular_values(a: Tensor, b: Tensor, s: float) -> Tensor:
    """The r singular values of s · BA, largest first, without forming the (out, in) product.

    With B = Q_b R_b and Aᵀ = Q_a R_a, those of BA are those of the small R_b R_aᵀ.
    """
    r_b = torch.linalg.qr(b.float()).R
    r_a = torch.linalg.qr(a.float().T).R
    values: Tensor = torch.linalg.svdvals(r_b @ r_a.T)
    return s * values


def count_parameters(rank: int, inputs: int, outputs: int, variant: Variant) -> int:
    """Trained numbers beside one matrix: r · (in + out), and out lengths for DoRA."""
    return rank * (inputs + outputs) + (outputs if variant == "dora" else 0)
