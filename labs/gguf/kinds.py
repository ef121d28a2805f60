"""What GGUF stores a tensor as, and how many bytes that takes. Imports no torch, no numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GGUF_TYPES = ("f16", "q8_0", "q4_0", "q4_k_m")
# `general.file_type` of llama.cpp.
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "q4_k_m": 15}
# Numbers of a block, and its bytes: Q4_0 is 32 half bytes and one float16 scale.
BLOCKS: Mapping[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "Q8_0": (32, 34),
    "Q4_0": (32, 18),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}
USUAL = {"f32": "F32", "f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0", "q4_k_m": "Q4_K"}
# What llama.cpp takes where a row is no multiple of 256.
INSTEAD = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
# Each tensor begins at a multiple of this.
ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """A GGUF file that was written: `types` counts its tensors by how they are stored."""

    path: Path
    kind: str
    architecture: str
    tensors: int
    parameters: int
    bytes: int
    header_bytes: int
    types: Mapping[str, int]


def row_bytes(stored: str, numbers: int) -> int:
    """Bytes of a row of that many numbers."""
    block, size = BLOCKS[stored]
    return numbers // block * size


def stored_as(kind: str, role: str, layer: int, layers: int, row: int) -> str:
    """The storage of a matrix as `llama-quantize` chooses it for a file of this kind.

    Args:
        kind: One of `GGUF_TYPES`, or "f32".
        role: GGUF's name of the tensor without its layer: "attn_v", "ffn_down", "output", …;
            the embedding of a model whose output is tied to it counts as "output".
        layer: Which layer it lies in; 0 outside of layers.
        layers: How many layers the model has.
        row: Numbers in a row, which blocks must fill.
    """
    chosen = USUAL[kind]
    if (kind in ("q4_0", "q4_k_m") and role == "output") or (
        kind == "q4_k_m" and role in ("attn_v", "ffn_down") and more_bits(layer, layers)
    ):
        chosen = "Q6_K"
    elif kind == "q4_k_m" and role == "attn_qkv":
        chosen = "Q5_K"
    if row % BLOCKS[chosen][0]:
        chosen = INSTEAD.get(chosen, "F16")
    return chosen if row % BLOCKS[chosen][0] == 0 else "F16"


def more_bits(layer: int, layers: int) -> bool:
    """Whether a layer's values and down projections get six bits in Q4_K_M.

    The first and last eighth do, and every third between (`use_more_bits` of llama.cpp).
    """
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
