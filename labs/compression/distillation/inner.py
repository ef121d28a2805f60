"""What self-attention is given, layer by layer: queries, keys and values as they are compared."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from labs.contract import LabError

WATCHED = "bunsen_watched"
# Where a layer's attention leaves what it was given, while somebody watches it.
PLACE = "watched_vectors"


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of one layer, each (B, T, heads · d): after rotary positions, keys and values repeated to all heads."""

    queries: Tensor
    keys: Tensor
    values: Tensor


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
    """Fused attention as without us; a watched module keeps what it was given."""
    if hasattr(module, PLACE):
        setattr(module, PLACE, (query, key, value))
    return sdpa_attention_forward(module, query, key, value, *args, **kwargs)


AttentionInterface.register(WATCHED, _attend)
AttentionMaskInterface.register(WATCHED, sdpa_mask)


def attention_of(model: PreTrainedModel, layer: int) -> nn.Module:
    """The self-attention of a layer, counted from 0; -1 is the last one."""
    found = [module for module in model.modules() if hasattr(module, "layer_idx")]
    last = max(int(module.layer_idx) for module in found)  # type: ignore[arg-type]  # an int in every family
    wanted = last if layer == -1 else layer
    own = [m for m in found if m.layer_idx == wanted and "Attention" in type(m).__name__]
    return own[0]


@contextmanager
def watching(model: PreTrainedModel, layer: int = -1) -> Iterator[nn.Module]:
    """Keep what one layer's attention is given, as long as this is open."""
    module = attention_of(model, layer)
    before = model.config._attn_implementation
    model.set_attn_implementation(WATCHED)
    setattr(module, PLACE, None)
    try:
        yield module
    finally:
        delattr(module, PLACE)
        model.set_attn_implementation(before)


def vectors_of(module: nn.Module) -> Vectors:
    """What the watched attention was given last.

    Raises:
        LabError: If it computes in a way of its own, as BLOOM's does.
    """
    given = getattr(module, PLACE)
    if given is None:
        raise LabError(
            "What happens inside {attention} cannot be watched. Set the weight of relations to 0.",
            parameter="relation_weight",
            attention=type(module).__name__,
        )
    query, key, value = given
    heads = query.shape[1]

    def joined(each: Tensor) -> Tensor:
        repeated = each.repeat_interleave(heads // each.shape[1], dim=1)
        return repeated.transpose(1, 2).flatten(2)

    return Vectors(joined(query), joined(key), joined(value))
