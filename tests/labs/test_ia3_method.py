"""What must hold of IA³, whatever it is trained on."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import IA3Config, TaskType, get_peft_model
from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
from torch import Tensor, nn

from labs.peft.ia3 import method
from tests.labs.tiny import make_network

L, KV, INNER = 2, 32, 128
CHANNELS = {"k_proj": KV, "v_proj": KV, "down_proj": INNER}
SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(CHANNELS, n)]
IDS = torch.tensor([[1, 40, 50, 60, 70, 80], [1, 99, 98, 97, 96, 95]])


def base() -> Any:
    """The tiny Qwen2 with biases that are not zero."""
    network = make_network()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(std=0.1)
    return network


def peft_model(targets: tuple[str, ...] = tuple(CHANNELS)) -> Any:
    config = IA3Config(
        task_type=TaskType.CAUSAL_LM,
        target_modules=list(targets),
        feedforward_modules=[name for name in targets if name == "down_proj"],
    )
    return get_peft_model(base(), config).eval()


def drawn() -> Any:
    """peft's model with factors around one."""
    model = peft_model()
    torch.manual_seed(1)
    for layer in layers_of(model):
        layer.ia3_l["default"].data.normal_(1.0, 0.5)
    return model


def layers_of(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "ia3_l")]


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    found: Tensor = model(input_ids=IDS).logits
    return found


def test_factors_of_one_change_no_bit() -> None:
    assert torch.equal(logits(peft_model()), logits(base()))


@torch.no_grad()
def test_peft_computes_what_the_paper_says() -> None:
    for layer in layers_of(drawn()):
        weight, bias = layer.base_layer.weight, layer.base_layer.bias
        scale, x = layer.ia3_l["default"].flatten(), torch.randn(2, 3, weight.shape[1])
        forward = method.scaled_inputs if layer.is_feedforward else method.scaled_outputs
        torch.testing.assert_close(layer(x), forward(x, weight, bias, scale))


@torch.no_grad()
def test_merging_keeps_every_logit() -> None:
    model = drawn()
    unmerged = logits(model)
    assert (unmerged - logits(base())).abs().max() > 1e-2
    torch.testing.assert_close(logits(model.merge_and_unload()), unmerged, atol=1e-5, rtol=0)


@torch.no_grad()
def test_peft_merges_as_the_method_says() -> None:
    model = drawn()
    expected = [merged(layer) for layer in layers_of(model)]
    plain = model.merge_and_unload()
    found = [m for name, m in plain.named_modules() if name.endswith(tuple(CHANNELS))]
    for layer, (weight, bias) in zip(found, expected, strict=True):
        torch.testing.assert_close(layer.weight, weight)
        torch.testing.assert_close(layer.bias, bias)


def merged(layer: Any) -> tuple[Tensor, Tensor | None]:
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    scale = layer.ia3_l["default"].flatten()
    if layer.is_feedforward:
        return method.merged_inputs(weight, scale), bias
    return method.merged_outputs(weight, bias, scale)


def test_the_bias_of_keys_and_values_is_merged_too() -> None:
    torch.manual_seed(0)
    x, weight, bias, scale = torch.randn(4, 6), torch.randn(3, 6), torch.randn(3), torch.randn(3)
    rows, scaled_bias = method.merged_outputs(weight, bias, scale)
    expected = method.scaled_outputs(x, weight, bias, scale)
    torch.testing.assert_close(F.linear(x, rows, scaled_bias), expected)
    assert not torch.allclose(F.linear(x, rows, bias), expected)


def test_the_bias_after_the_feed_forward_stays() -> None:
    torch.manual_seed(0)
    x, weight, bias, scale = torch.randn(4, 6), torch.randn(3, 6), torch.randn(3), torch.randn(6)
    expected = method.scaled_inputs(x, weight, bias, scale)
    torch.testing.assert_close(F.linear(x, method.merged_inputs(weight, scale), bias), expected)


@pytest.mark.parametrize("targets", SUBSETS)
def test_trained_numbers_follow_the_formula(targets: tuple[str, ...]) -> None:
    trainable, _ = peft_model(targets).get_nb_trainable_parameters()
    assert trainable == method.count_parameters(L, (CHANNELS[name] for name in targets))


def test_the_counts_of_the_theory_page() -> None:
    assert method.count_parameters(4, (128, 128, 512)) == 3_072
    assert method.count_parameters(24, (128, 128, 4_864)) == 122_880


def test_every_factor_learns_and_nothing_else() -> None:
    model = peft_model()
    model(input_ids=IDS, labels=IDS).loss.backward()
    reached = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(reached) == len(CHANNELS) * L
    assert all("ia3_l" in name and bool((g != 0).all()) for name, g in reached.items())


def test_attention_with_ones_is_plain_attention() -> None:
    torch.manual_seed(0)
    q, k, v, ones = torch.randn(5, 8), torch.randn(6, 8), torch.randn(6, 8), torch.ones(8)
    plain = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(method.attention(q, k, v, ones, ones), plain)


def test_without_rotation_scaling_keys_is_scaling_queries() -> None:
    torch.manual_seed(0)
    q, k, v, ones = torch.randn(5, 8), torch.randn(6, 8), torch.randn(6, 8), torch.ones(8)
    l_k = torch.rand(8) + 0.5
    torch.testing.assert_close(
        method.attention(q, k, v, l_k, ones), method.attention(l_k * q, k, v, ones, ones)
    )


def test_a_value_channel_of_zero_is_off() -> None:
    torch.manual_seed(0)
    q, k, v, ones = torch.randn(5, 8), torch.randn(6, 8), torch.randn(6, 8), torch.ones(8)
    l_v = ones.clone()
    l_v[3] = 0
    ours, plain = method.attention(q, k, v, ones, l_v), method.attention(q, k, v, ones, ones)
    assert ours[:, 3].eq(0).all()
    torch.testing.assert_close(ours * (l_v != 0), plain * l_v)


def test_rows_of_one_batch_may_have_different_tasks() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 4, 6), torch.randn(3, 6), torch.randn(3)
    scales = torch.randn(2, 3)
    together = method.scaled_outputs(x, weight, bias, scales.unsqueeze(1))
    for row in range(2):
        torch.testing.assert_close(
            together[row], method.scaled_outputs(x[row], weight, bias, scales[row])
        )


def test_the_defaults_of_peft_rescale_queries_of_this_family() -> None:
    defaults = TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING["qwen2"]
    assert set(defaults) == {"q_proj", "v_proj", "down_proj"}
