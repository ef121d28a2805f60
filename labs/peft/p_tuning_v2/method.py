"""P-Tuning v2 in plain torch: trained keys and values in every layer, and a head for the task.

        layer l:   queries of the text ──┐
                   [P_k ; keys] ─────────┼── attention ── … ── last position ── head ── labels
                   [P_v ; values] ───────┘

P_k and P_v of each layer are free vectors: no network writes them. The lab trains with peft's
prefix module without its projection; a test proves that peft computes what stands here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeepPrompt(nn.Module):
    """T trained keys and values for each layer (Liu et al. 2021, arXiv:2110.07602, section 3.2).

    Args:
        layers: L.
        virtual_tokens: T, the prompt length.
        kv_heads: Heads that keep keys and values; fewer than heads with grouped queries.
        head_dim: Width of a head.
    """

    def __init__(self, layers: int, virtual_tokens: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        # In peft's order, so that its embedding (T, L · 2 · kv_heads · head_dim) is this reshaped.
        self.vectors = nn.Parameter(torch.randn(virtual_tokens, layers, 2, kv_heads, head_dim))

    def forward(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """P_k and P_v of each layer, both (B, kv_heads, T, head_dim), as a cache holds them.

        They enter the cache as they are: no position is rotated into them. The text that
        follows begins at position T.
        """
        by_layer = self.vectors.permute(1, 2, 3, 0, 4)  # (L, 2, kv_heads, T, head_dim)
        spread = by_layer.unsqueeze(2).expand(-1, -1, batch, -1, -1, -1)
        return [(layer[0], layer[1]) for layer in spread]


def prompted_attention(
    q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor
) -> Tensor:
    """Attn(q, [P_k ; K], [P_v ; V]), causal over the text (He et al. 2022, arXiv:2110.04366, eq. 5).

    Every position sees the whole prompt. That it acts as a gate between the text and itself is
    shown in the method of prefix tuning.

    Args:
        q: Queries of the text, (..., n, head_dim).
        k: Its keys, (..., n, head_dim).
        v: Its values, (..., n, head_dim).
        prompt_k: P_k, (..., T, head_dim).
        prompt_v: P_v, (..., T, head_dim).

    Returns:
        (..., n, head_dim).
    """
    scores = torch.cat([_scores(q, prompt_k), _causal(_scores(q, k))], dim=-1)
    weights = F.softmax(scores, dim=-1)
    attended: Tensor = weights @ torch.cat([prompt_v, v], dim=-2)
    return attended


def _scores(q: Tensor, k: Tensor) -> Tensor:
    scores: Tensor = q @ k.mT / q.shape[-1] ** 0.5
    return scores


def _causal(scores: Tensor) -> Tensor:
    later = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
    return scores.masked_fill(later, -torch.inf)


def classify(hidden: Tensor, lengths: Tensor, head: Tensor) -> Tensor:
    """Scores of the labels: head · state of each row's last token (section 3.3).

    The head starts at random and says nothing until it is trained with the prompt. The paper's
    models read a row in both directions and use its first position; a decoder's last has seen
    the whole row.

    Args:
        hidden: Final states, (B, n, d), padded on the right.
        lengths: Tokens in each row without padding, (B,).
        head: (C, d), trained.

    Returns:
        (B, C).
    """
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, lengths - 1] @ head.T


def count_parameters(
    layers: int, virtual_tokens: int, kv_heads: int, head_dim: int, labels: int = 0, hidden: int = 0
) -> int:
    """Trained numbers: T · L · 2 · kv_heads · head_dim, and C · d for a classification head."""
    return virtual_tokens * layers * 2 * kv_heads * head_dim + labels * hidden
