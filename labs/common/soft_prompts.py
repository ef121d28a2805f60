"""Vectors that stand where words do, in plain torch: what prompt tuning and P-tuning have in common."""

import torch
from torch import Tensor


def prepended(prompt: Tensor, embeddings: Tensor) -> Tensor:
    """[P ; X]: the prompt before each row.

    Args:
        prompt: P, (T, d) for all rows, or (B, T, d) with a task for each row.
        embeddings: X, (B, n, d), the frozen embeddings of the rows' tokens.

    Returns:
        (B, T + n, d).
    """
    before = prompt.to(embeddings).expand(len(embeddings), -1, -1)
    return torch.cat([before, embeddings], dim=1)
