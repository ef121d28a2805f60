"""Tokens a second against how many prompts are answered at once."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor
from transformers import PreTrainedModel

from labs.common.memory import synchronize
from labs.compression.common.metrics import BATCH_SIZES

PROMPT_TOKENS = 32
NEW_TOKENS = 16
REPEATS = 3
WARMUP = 1


def measure_throughput(
    model: PreTrainedModel,
    stream: Tensor,
    device: str,
    check: Callable[[], None] = lambda: None,
    sizes: Sequence[int] = BATCH_SIZES,
) -> dict[int, float]:
    """Generated tokens a second at each batch size, the median of `REPEATS` after a warm-up.

    All prompts have one length, cut from running text: nothing is padded, so that a batch holds no
    token that nobody asked for. The end token does not stop a generation.

    Args:
        model: In evaluation mode, on the device.
        stream: Tokens that prompts are cut from, [tokens].
        device: Of the model; it is waited for before each look at the clock.
        check: Called before each generation, so that a stop is noticed.
        sizes: Prompts at once.
    """
    return {size: _speed(model, _prompts(model, stream, size), device, check) for size in sizes}


def _prompts(model: PreTrainedModel, stream: Tensor, size: int) -> Tensor:
    """[size, length]: consecutive pieces of the stream, from its beginning again where it ends."""
    positions = getattr(model.config, "max_position_embeddings", None) or len(stream) + NEW_TOKENS
    length = max(1, min(PROMPT_TOKENS, len(stream), positions - NEW_TOKENS))
    pieces = stream[: len(stream) // length * length].view(-1, length)
    return pieces[torch.arange(size) % len(pieces)]


@torch.inference_mode()
def _speed(
    model: PreTrainedModel, prompts: Tensor, device: str, check: Callable[[], None]
) -> float:
    ids = prompts.to(device)
    seconds: list[float] = []
    for _ in range(WARMUP + REPEATS):
        check()
        synchronize(device)
        started = time.perf_counter()
        model.generate(  # type: ignore[operator]  # transformers leaves it untyped
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
        )
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return len(ids) * NEW_TOKENS / median(seconds[WARMUP:])
