"""Which bias vectors belong to which part of a layer. Imports no torch."""

from collections.abc import Mapping
from typing import Literal

Biases = Literal["all", "attention", "feed_forward"]
Part = Literal["attention", "feed_forward", "other"]

# How decoders call the modules of a layer (GPT-2, GPT-NeoX, OPT, Phi, Qwen2, BLOOM, StarCoder2).
ATTENTION = frozenset({"attn", "self_attn", "attention", "self_attention"})
FEED_FORWARD = frozenset({"mlp", "fc1", "fc2", "ffn", "feed_forward"})


def part_of(name: str) -> Part:
    """Where in a layer a parameter sits; norms, embeddings and the head are neither part."""
    steps = set(name.split("."))
    if steps & ATTENTION:
        return "attention"
    return "feed_forward" if steps & FEED_FORWARD else "other"


def is_chosen(name: str, biases: Biases) -> bool:
    """Whether the bias of this module is trained."""
    return biases in ("all", part_of(name))


def chosen_sizes(sizes: Mapping[str, int], biases: Biases) -> dict[str, int]:
    """Of the numbers in each module's biases, those that are trained."""
    return {name: size for name, size in sizes.items() if is_chosen(name, biases)}
