"""Prompt tuning in plain torch, as the paper writes it: train vectors that stand where words do.

        P (T × d, trained) ───────────────┐
                                          ├── [P ; X] ── frozen model
        tokens ── embeddings ── X (n × d) ┘

The lab trains with peft; a test proves that peft computes what stands here.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labs.common.soft_prompts import prepended

IGNORED = -100  # no loss where a label is this


class Prompted(NamedTuple):
    """A batch with the prompt before it: what the frozen model reads and is asked."""

    embeddings: Tensor  # (B, T + n, d)
    mask: Tensor  # (B, T + n), 1 where there is a token
    labels: Tensor  # (B, T + n), `IGNORED` where nothing is asked


def prepend(prompt: Tensor, embeddings: Tensor, mask: Tensor, labels: Tensor) -> Prompted:
    """[P ; X] (Lester et al. 2021, arXiv:2104.08691, section 2), with a mask and labels to fit.

    Args:
        prompt: P, (T, d) for all rows, or (B, T, d) with a task for each row.
        embeddings: X, (B, n, d), from the frozen table.
        mask: (B, n), 0 at padding.
        labels: (B, n).

    Returns:
        Rows of length T + n. The prompt is always seen and never asked for.
    """
    virtual_tokens = prompt.shape[-2]
    return Prompted(
        prepended(prompt, embeddings),
        F.pad(mask, (virtual_tokens, 0), value=1),
        F.pad(labels, (virtual_tokens, 0), value=IGNORED),
    )


def from_text(ids: Sequence[int], virtual_tokens: int, table: Tensor) -> Tensor:
    """A start from words (section 2.1): the text repeated or cut to T tokens, as peft does it.

    Args:
        ids: Tokens of the text, at least one.
        virtual_tokens: T.
        table: The model's embeddings, (V, d).

    Returns:
        (T, d), a copy: the table itself stays as it is.
    """
    repeated = list(ids) * math.ceil(virtual_tokens / len(ids))
    return table.detach()[repeated[:virtual_tokens]].clone()


def from_noise(virtual_tokens: int, table: Tensor) -> Tensor:
    """A start at random, (T, d), with the spread of the model's embeddings.

    The paper draws from [-0.5, 0.5] (section 3.2), peft standard normal numbers, which can be
    many times as long as the vector of a word.
    """
    return table.detach().std() * torch.randn(virtual_tokens, table.shape[1]).to(table)


def nearest_words(prompt: Tensor, table: Tensor, count: int = 5) -> tuple[Tensor, Tensor]:
    """The tokens whose embeddings point the same way as each vector (section 7).

    Args:
        prompt: P, (T, d).
        table: (V, d).
        count: How many for each vector.

    Returns:
        Cosines, falling, and token ids; both (T, count).
    """
    cosines = F.normalize(prompt.to(table), dim=-1) @ F.normalize(table, dim=-1).T
    best = cosines.topk(count, dim=-1)
    return best.values, best.indices


def count_parameters(virtual_tokens: int, hidden: int) -> int:
    """Trained and stored numbers: T · d (section 2.1). Depth and vocabulary do not matter."""
    return virtual_tokens * hidden
