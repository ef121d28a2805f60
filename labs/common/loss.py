"""The loss of answers given their prompts."""

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.common.batches import IGNORED, Batch
from labs.common.loading import DTYPES


def answer_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of the target tokens, summed: divide by their number for nats per token.

    Args:
        model: A causal language model.
        batch: input_ids, attention_mask and labels, each (B, T); `IGNORED` labels do not count.

    Returns:
        A float32 scalar in nats.
    """
    logits = text_logits(
        model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits,
        batch["input_ids"],
    )
    targets = batch["labels"][:, 1:]
    kept = targets != IGNORED
    # Select before converting: (targets, V) in float32 instead of (B, T, V).
    return F.cross_entropy(logits[:, :-1][kept].float(), targets[kept], reduction="sum")


def text_logits(logits: Tensor, ids: Tensor) -> Tensor:
    """The logits of the tokens of a text, (B, T, V): a soft prompt before it has some of its own."""
    return logits[:, -ids.shape[1] :]


def count_targets(batch: Batch) -> int:
    """How many tokens `answer_loss` sums over."""
    return int((batch["labels"][:, 1:] != IGNORED).sum())


def autocast(precision: str, device: str) -> AbstractContextManager[None]:
    """Compute matrix products in the run's precision; fp32 changes nothing."""
    return torch.autocast(device, dtype=DTYPES[precision], enabled=precision != "fp32")
