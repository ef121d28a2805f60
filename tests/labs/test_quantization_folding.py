"""Scales that are folded from a matrix into what stands before it, and what AWQ and SmoothQuant gain."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.compression.common.layerwise import Layer, decoder_layers, matrices_of
from labs.compression.quantization.awq import importance_scales, round_clipped, search_scales
from labs.compression.quantization.errors import row_errors
from labs.compression.quantization.families import FAMILIES
from labs.compression.quantization.folding import (
    apply_fold,
    family_of,
    linear_folds,
    norm_folds,
)
from labs.compression.quantization.grid import round_to_nearest
from labs.compression.quantization.inputs import Reader, Shelf
from labs.compression.quantization.layers import LayerQuantizer
from labs.compression.quantization.scheme import Scheme
from labs.compression.quantization.smoothquant import smoothing_scales
from labs.contract import LabError
from tests.labs.test_quantization_gptq import layer as random_layer

KINDS = {
    "llama": ("LlamaConfig", "LlamaForCausalLM"),
    "mistral": ("MistralConfig", "MistralForCausalLM"),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM"),
    "gemma": ("GemmaConfig", "GemmaForCausalLM"),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM"),
    "gemma3_text": ("Gemma3TextConfig", "Gemma3ForCausalLM"),
}
TOKENS = torch.arange(24).view(1, 24)


def make(family: str, kv_heads: int) -> PreTrainedModel:
    """A model of the family whose norms and biases are not those it was born with."""
    config, model = (getattr(transformers, name) for name in KINDS[family])
    torch.manual_seed(0)
    made: Any = model(
        config(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            head_dim=8,
            max_position_embeddings=64,
            pad_token_id=0,
        )
    )
    for name, parameter in made.named_parameters():
        if "norm" in name or "bias" in name:
            nn.init.normal_(parameter, mean=0.5, std=0.2)
    whole: PreTrainedModel = made.eval()
    return whole


@torch.no_grad()
def logits(model: PreTrainedModel) -> Tensor:
    found: Tensor = model(TOKENS).logits
    return found


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("family", sorted(KINDS))
def test_folding_leaves_the_function_as_it_was(family: str, kv_heads: int) -> None:
    model = make(family, kv_heads)
    before, known, folded = logits(model), family_of(family), 0
    for index, module in enumerate(decoder_layers(model)):
        layer = Layer(index, 2, module, matrices_of(module))
        for fold in [*norm_folds(layer, known), *linear_folds(layer)]:
            scales = torch.rand(layer.matrices[fold.readers[0]].weight.shape[1]) * 4 + 0.1
            apply_fold(layer, fold, scales, known.offset)
            folded += 1
    # Heads that share their values have no outputs of their own for each input of o_proj.
    assert folded == 2 * (4 if kv_heads == 4 else 3)
    assert (logits(model) - before).abs().max() < 1e-4 * before.abs().max()


def test_every_known_family_is_tried() -> None:
    assert set(KINDS) == set(FAMILIES)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(LabError, match="bloom"):
        family_of("bloom")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("bits", [2, 4])
def test_scales_that_awq_finds_are_never_worse_than_none(seed: int, bits: int) -> None:
    weight, hessian = random_layer(seed, outputs=16)
    mean = hessian.diagonal().sqrt()

    def rounded(weight: Tensor) -> Tensor:
        return round_to_nearest(weight, bits, 32, True).weight

    scales, alpha = search_scales([weight], hessian, mean, rounded)
    found = row_errors(weight, rounded(weight * scales) / scales, hessian).sum()
    assert found <= row_errors(weight, rounded(weight), hessian).sum()
    assert torch.equal(scales, importance_scales(mean, alpha))
    clipped = round_clipped(weight, hessian, Scheme("awq", bits, 32), torch.float32)
    assert (
        row_errors(weight, clipped.weight, hessian).sum()
        <= row_errors(weight, rounded(weight), hessian).sum()
    )


def test_awq_protects_the_weights_of_large_inputs() -> None:
    weight, _ = random_layer(0, outputs=16)
    sizes = torch.ones(64)
    sizes[3] = 30.0
    hessian = torch.diag(sizes**2)
    scales, alpha = search_scales(
        [weight], hessian, sizes, lambda w: round_to_nearest(w, 3, None, True).weight
    )
    assert alpha > 0
    assert scales.argmax() == 3


@torch.no_grad()
def test_errors_are_of_the_outputs_as_they_were_before_scales_were_folded() -> None:
    module = decoder_layers(model := make("llama", 4))[0]
    layer, shelf = Layer(0, 2, module, matrices_of(module)), Shelf()
    readers = {name: Reader(matrix, shelf) for name, matrix in layer.matrices.items()}
    for name, reader in readers.items():
        layer.matrices[name].module.register_forward_pre_hook(
            lambda module, args, reader=reader: reader.add(args[0].flatten(0, -2))
        )
    model(TOKENS)
    inputs = {name: reader.inputs for name, reader in readers.items()}
    before = {name: matrix.weight.clone() for name, matrix in layer.matrices.items()}
    norm = layer.module.get_submodule("post_attention_layernorm").weight.clone()

    quantizer = LayerQuantizer(Scheme("awq", 3, 32), torch.float32, family_of("llama"))
    made = {report.matrix: report for report, _ in quantizer.quantize(layer, inputs, "layers")}

    name = "mlp.up_proj"
    into = norm / layer.module.get_submodule("post_attention_layernorm").weight
    down = made["mlp.down_proj"].before / before["mlp.down_proj"]
    effective = made[name].after / into * down.median(0).values.unsqueeze(1)
    tokens = inputs[name].tokens.t()
    lost = ((before[name] - effective) @ tokens).square().sum()
    true = float(lost / (before[name] @ tokens).square().sum())
    assert made[name].output_error == pytest.approx(true, rel=1e-4)


def test_smoothing_shares_the_outliers() -> None:
    weight, largest = torch.full((4, 3), 0.5), torch.tensor([0.5, 50.0, 0.0])
    scales = smoothing_scales(largest, [weight], 0.5)
    # With α = ½, inputs and weights of a channel meet in the middle: √(max|X| · max|W|) for both.
    assert torch.allclose(largest / scales, weight[0] * scales * torch.tensor([1, 1, 0]), atol=1e-6)
    # An input that was always zero is left alone.
    assert scales[2] == 1
    assert torch.allclose(smoothing_scales(largest, [weight], 1.0)[:2], largest[:2])
