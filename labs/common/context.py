"""How much of a prompt fits into a model's context beside what is generated behind it."""

from collections.abc import Sequence

from labs.common.loading import CausalModel
from labs.common.params import Reading

# As for a config that names none: families without a table of positions read further.
UNSTATED = 2048

Prompts = list[Sequence[int]]


def positions_of(model: CausalModel, params: Reading) -> int:
    """Tokens of text that a model reads: its context, less what a lab puts before each row."""
    stated = getattr(model.config, "max_position_embeddings", None) or UNSTATED
    return int(stated) - params.tokens_before - params.cached_before


def with_room(
    model: CausalModel, params: Reading, prompts: Sequence[Sequence[int]], new_tokens: int
) -> tuple[Prompts, int]:
    """Prompts whose answers fit into the context behind them, and how long these may be.

    Training may fill the context to its end. A model with a table of positions has none for the
    token after that, so long prompts lose their beginning here; answers get half at most.
    """
    positions = positions_of(model, params)
    new = max(1, min(new_tokens, positions // 2))
    kept = max(1, positions - new)
    return [prompt[-kept:] for prompt in prompts], new
