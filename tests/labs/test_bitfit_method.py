"""What must hold of BitFit, whatever it is trained on."""

from typing import Any

import pytest
import torch
from peft import BeftConfig, get_peft_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from labs.peft.bitfit import method
from labs.peft.bitfit.parts import Biases, part_of
from tests.labs.tiny import make_network

IDS = torch.tensor([[1, 40, 50, 60, 70, 80], [1, 99, 98, 97, 96, 95]])
Weights = dict[str, Tensor]


def with_biases(seed: int = 0) -> nn.Module:
    """The tiny Qwen2 with biases that are not zero."""
    network = make_network(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(std=0.1)
    return network


def gpt2() -> nn.Module:
    make: Any = GPT2LMHeadModel  # transformers leaves it untyped
    torch.manual_seed(0)
    network: nn.Module = make(
        GPT2Config(vocab_size=259, n_embd=32, n_layer=2, n_head=2, n_positions=64)
    )
    return network.eval()


def weights_of(network: nn.Module) -> Weights:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def logits(network: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(input_ids=IDS).logits
    return found


def trained(network: nn.Module, biases: Biases = "all", steps: int = 3) -> nn.Module:
    """A few updates of the chosen biases and of nothing else."""
    names = method.chosen([name for name, _ in network.named_parameters()], biases)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        network(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    return network


def change_of(network: nn.Module, before: Weights) -> Weights:
    """The delta of the trained biases against the weights before."""
    return method.delta(
        before, {n: p.detach() for n, p in network.named_parameters() if p.requires_grad}
    )


def load(network: nn.Module, weights: Weights) -> nn.Module:
    network.load_state_dict(weights, strict=False)  # tied embeddings are named once
    return network


def test_a_delta_of_zero_changes_no_bit() -> None:
    before = weights_of(with_biases())
    after = method.apply(before, method.delta(before, before))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_bias_is_added_to_every_position() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), torch.randn(2, 4, 5)
    torch.testing.assert_close(method.linear(x, layer.weight, layer.bias), layer(x))


def test_its_gradient_is_the_sum_over_positions_and_needs_no_input() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 5), torch.randn(3, 5)
    bias = torch.zeros(3, requires_grad=True)
    h = method.linear(x, weight, bias)
    arriving = torch.randn_like(h)
    torch.autograd.backward(h, arriving)
    assert bias.grad is not None
    torch.testing.assert_close(bias.grad, method.bias_gradient(arriving))


@pytest.mark.parametrize(
    ("biases", "expected"), [("all", 256), ("attention", 256), ("feed_forward", 0)]
)
def test_qwen2_has_biases_in_attention_only(biases: Biases, expected: int) -> None:
    weights = weights_of(with_biases())
    names = method.chosen(weights, biases)
    assert sum(weights[name].numel() for name in names) == expected
    lengths = (64, 32, 32) if expected else ()
    assert method.count_parameters(2, lengths) == expected


@pytest.mark.parametrize(
    ("biases", "lengths", "outside"),
    [
        ("attention", (96, 32), 0),
        ("feed_forward", (128, 32), 0),
        ("all", (96, 32, 128, 32, 32, 32), 32),
    ],
)
def test_gpt2_has_them_in_both_parts_and_in_the_norms(
    biases: Biases, lengths: tuple[int, ...], outside: int
) -> None:
    weights = weights_of(gpt2())
    counted = sum(weights[name].numel() for name in method.chosen(weights, biases))
    assert counted == method.count_parameters(2, lengths, outside)


def test_the_shares_of_the_paper_follow_from_the_formula() -> None:
    base = method.count_parameters(12, (*7 * (768,), 3072), outside=2 * 768)
    large = method.count_parameters(24, (*7 * (1024,), 4096), outside=2 * 1024)
    assert (base, large) == (102_912, 272_384)
    assert round(base / 109_482_240 * 100, 2) == 0.09
    assert round(large / 335_141_888 * 100, 2) == 0.08


@pytest.mark.parametrize("biases", ["all", "attention", "feed_forward"])
def test_nothing_else_moves(biases: Biases) -> None:
    network = gpt2()
    before = weights_of(network)
    trained(network, biases)
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert moved <= set(method.chosen(before, biases))
    assert {part_of(name) for name in moved} >= ({biases} - {"all"})


def test_the_delta_on_a_fresh_base_is_the_trained_model() -> None:
    network = with_biases()
    before = weights_of(network)
    base = logits(network)
    expected = logits(trained(network))
    rebuilt = load(with_biases(), method.apply(before, change_of(network, before)))
    assert (expected - base).abs().max() > 1e-2
    torch.testing.assert_close(logits(rebuilt), expected, atol=1e-5, rtol=0)


def test_peft_adds_the_same_delta() -> None:
    network = with_biases()
    before = weights_of(network)
    change = change_of(trained(network), before)
    expected = logits(network)
    peft: Any = get_peft_model(
        load(with_biases(), before),
        BeftConfig(target_modules=["q_proj", "k_proj", "v_proj"]),
    )
    for name, module in peft.get_base_model().named_modules():
        if hasattr(module, "beft_bias"):
            module.beft_bias["default"].data.copy_(change[f"{name}.bias"])
    torch.testing.assert_close(logits(peft), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits(peft.merge_and_unload()), expected, atol=1e-5, rtol=0)


def test_a_step_below_the_rounding_of_the_base_stays_in_the_delta() -> None:
    before = {"a.bias": torch.ones(2, dtype=torch.bfloat16)}
    change = method.delta(before, {"a.bias": torch.tensor([1.0001, 1.25])})
    assert change["a.bias"][0] > 0
    assert method.apply(before, change)["a.bias"].tolist() == [1.0, 1.25]


def test_a_key_bias_learns_nothing_without_rotation() -> None:
    plain = trained(gpt2(), "attention", steps=1)
    gradient = plain.get_parameter("transformer.h.0.attn.c_attn.bias").grad
    assert gradient is not None
    query, key, value = gradient.view(3, 32).abs().amax(dim=-1)
    assert key < 1e-7
    assert min(query, value) > 1e-6


def test_a_key_bias_shifts_all_scores_of_a_query_alike() -> None:
    torch.manual_seed(0)
    query, keys, bias = torch.randn(4, 8), torch.randn(6, 8), torch.randn(8)
    shifted = query @ (keys + bias).T
    torch.testing.assert_close(shifted, query @ keys.T + method.key_bias_shift(query, bias))
    torch.testing.assert_close(shifted.softmax(-1), (query @ keys.T).softmax(-1))


def test_a_key_bias_learns_where_positions_rotate_keys() -> None:
    rotated = trained(with_biases(), steps=1)
    gradient = rotated.get_parameter("model.layers.0.self_attn.k_proj.bias").grad
    assert gradient is not None
    assert gradient.abs().max() > 1e-6


def test_the_amount_of_change_is_the_mean_absolute_step() -> None:
    assert method.amount_of_change(torch.tensor([0.5, -0.5, 0.0, 1.0])) == 0.5
