"""IA³ in plain torch, as the paper writes it: three vectors turn single activations up or down.

        x ── W_k ── · l_k ── keys ────┐                 x ── W_1 ── f ── · l_ff ── W_2 ──
        x ── W_q ── queries ──────────┼── attention ──
        x ── W_v ── · l_v ── values ──┘

The lab trains with peft; a test proves that peft computes what stands here.
"""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, l_k: Tensor, l_v: Tensor) -> Tensor:
    """softmax(Q (l_k ⊙ K)ᵀ / √d) (l_v ⊙ V) (Liu et al. 2022, arXiv:2205.05638, section 3.3).

    Args:
        q: Queries of one head, (..., n, d).
        k: Keys, (..., n, d).
        v: Values, (..., n, d).
        l_k: (d,), ones at the start.
        l_v: (d,), ones at the start.

    Returns:
        (..., n, d).
    """
    return F.softmax(q @ (l_k * k).mT / q.shape[-1] ** 0.5, dim=-1) @ (l_v * v)


def scaled_outputs(x: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor) -> Tensor:
    """l ⊙ (W x + b): keys and values. The bias is scaled too.

    Args:
        x: (..., in).
        weight: W, (out, in), frozen.
        bias: b, (out,), frozen, or none.
        scale: l_k or l_v, (out,) or (B, 1, out) with a task for each row.

    Returns:
        (..., out).
    """
    return scale * F.linear(x, weight, bias)


def scaled_inputs(x: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor) -> Tensor:
    """W (l ⊙ x) + b: what enters the last map of the feed-forward.

    Args:
        x: f(W_1 …), or silu(gate) ⊙ up in a gated feed-forward, (..., in).
        weight: W_2, (out, in), frozen.
        bias: b, (out,), frozen, or none.
        scale: l_ff, (in,) or (B, 1, in).

    Returns:
        (..., out).
    """
    return F.linear(scale * x, weight, bias)


def merged_outputs(
    weight: Tensor, bias: Tensor | None, scale: Tensor
) -> tuple[Tensor, Tensor | None]:
    """diag(l) W and l ⊙ b: the rows scaled, so that nothing is left to multiply."""
    return scale.unsqueeze(1) * weight, None if bias is None else scale * bias


def merged_inputs(weight: Tensor, scale: Tensor) -> Tensor:
    """W diag(l): the columns scaled; the bias comes after them and stays."""
    return weight * scale


def count_parameters(layers: int, channels: Iterable[int]) -> int:
    """Trained numbers: L · (d_k + d_v + d_ff), of those that are rescaled (section 3.3).

    Args:
        layers: L.
        channels: Keys and values: kv_heads · head_dim. Feed-forward: its inner width.
    """
    return layers * sum(channels)
