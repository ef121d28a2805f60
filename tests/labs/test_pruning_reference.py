"""A small Llama pruned by llmcompressor, and by us; `references/record_pruning.py` recorded it."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from labs.compression.pruning.prune import prune_model
from labs.compression.pruning.spec import PruningParams

RECORDED = Path(__file__).parent / "references" / "pruning.safetensors"
WEIGHTS = 32 * 32
# llmcompressor 0.14.0.1 zeroes one weight more of each block: it takes all up to the threshold.
UNSTRUCTURED = (WEIGHTS // 2 + 1) / WEIGHTS


@cache
def recorded() -> dict[str, Tensor]:
    return load_file(RECORDED)


def network() -> PreTrainedModel:
    """The recorded model."""
    make: Any = LlamaForCausalLM  # transformers leaves it untyped
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model: PreTrainedModel = make(config).eval()
    base = {n[5:]: w.float() for n, w in recorded().items() if n.startswith("base.")}
    missing = model.load_state_dict(base, strict=False).missing_keys
    assert missing == ["lm_head.weight"]
    return model


def ours(**params: Any) -> dict[str, Tensor]:
    model = network()
    prune_model(model, recorded()["blocks"].long(), PruningParams(**params), "cpu")
    return {n: p.detach() for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2}


def theirs(case: str) -> dict[str, Tensor]:
    found = {n: w for n, w in recorded().items() if n.startswith(f"{case}.")}
    return {n.removeprefix(f"{case}."): w for n, w in found.items()}


@pytest.mark.parametrize(
    ("case", "params"),
    [
        ("wanda_0:0_0.5", {"sparsity": 0.5}),
        ("wanda_2:4_0.5", {"pattern": "2:4"}),
    ],
)
def test_wanda_zeroes_the_same_weights(case: str, params: dict[str, Any]) -> None:
    expected, found = theirs(case), ours(method="wanda", **params)
    assert found.keys() == expected.keys()
    assert len(found) == 14
    for name, weight in found.items():
        assert torch.equal(weight == 0, expected[name]), name


@pytest.mark.parametrize(
    ("case", "params"),
    [
        ("sparsegpt_0:0_0.5", {"sparsity": UNSTRUCTURED}),
        ("sparsegpt_2:4_0.5", {"pattern": "2:4"}),
    ],
)
def test_sparsegpt_gives_the_same_weights(case: str, params: dict[str, Any]) -> None:
    """Within 1e-3 of the largest: sums of another order pass through two inversions and two layers."""
    expected, found = theirs(case), ours(method="sparsegpt", **params)
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert torch.equal(weight == 0, expected[name] == 0), name
        largest = float(expected[name].abs().max())
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-3 * largest)
