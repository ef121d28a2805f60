"""Perplexity of running text, with a fixed window and a fixed stride.

Window and stride belong to the figure: the same model and text give another one with others.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from labs.contract import BadData


@torch.inference_mode()
def stream_loss(
    model: PreTrainedModel,
    stream: Tensor,
    window: int,
    stride: int,
    device: str,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Nats per predicted token of a stream; each is predicted once, from those before it in its window.

    Windows begin every `stride` tokens; in each but the first, only the tokens that the window
    before did not reach are counted. With a stride as long as the window, as in the papers on
    quantization and pruning, windows do not overlap and the first token of each is not counted.

    Args:
        model: In evaluation mode.
        stream: Token ids, [tokens].
        window: Tokens that the model sees at once.
        stride: Between two windows, at most the window.
        device: Of the model.
        tick: Told how many tokens are done, of how many.

    Raises:
        BadData: If there are fewer than two tokens.
    """
    require_text(stream)
    total, counted, reached = 0.0, 0, 1
    for start in range(0, len(stream), stride):
        end = min(start + window, len(stream))
        ids = stream[start:end].to(device).unsqueeze(0)
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        # Where windows do not overlap, nothing predicts the first token of one.
        fresh = min(end - reached, len(logits))
        losses = torch.nn.functional.cross_entropy(
            logits[len(logits) - fresh :], ids[0, len(ids[0]) - fresh :], reduction="sum"
        )
        total += float(losses)
        counted += fresh
        reached = end
        tick(end, len(stream))
        if end == len(stream):
            break
    return total / counted


def require_text(stream: Tensor) -> None:
    """Raises `BadData` where a stream, [tokens], is too short for any prediction."""
    if len(stream) < 2:
        raise BadData("The text has fewer than two tokens: nothing can be predicted in it.")
