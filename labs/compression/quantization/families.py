"""Which matrix may be scaled through which, by family of model. Imports no torch.

AWQ and SmoothQuant multiply a matrix's columns by scales and divide its inputs by them. The division
costs nothing where it can be folded into what makes those inputs: a norm's weights, or the rows of
the linear map before it. That is so only where nothing but these matrices reads these inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fold:
    """Matrices that read the same inputs, and the module that makes them; names within a layer."""

    source: str
    readers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """The norms of a layer that have readers, and what their weights stand for.

    `offset` is added to a norm's weights before they multiply: 1 in Gemma, which keeps w − 1.
    """

    norms: tuple[Fold, ...]
    offset: float = 0.0


ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
FEED_FORWARD = ("mlp.gate_proj", "mlp.up_proj")
# The values of attention are weighted by numbers that add up to one, and up's outputs are multiplied
# by gate's: both pass a scale on unchanged.
LINEAR = (
    Fold("self_attn.v_proj", ("self_attn.o_proj",)),
    Fold("mlp.up_proj", ("mlp.down_proj",)),
)

LLAMA = Family((Fold("input_layernorm", ATTENTION), Fold("post_attention_layernorm", FEED_FORWARD)))
GEMMA = Family(LLAMA.norms, offset=1.0)
GEMMA_2 = Family(
    (Fold("input_layernorm", ATTENTION), Fold("pre_feedforward_layernorm", FEED_FORWARD)),
    offset=1.0,
)

FAMILIES: Mapping[str, Family] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": GEMMA,
    "gemma2": GEMMA_2,
    "gemma3_text": GEMMA_2,
}
