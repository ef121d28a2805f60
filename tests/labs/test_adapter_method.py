"""What must hold of bottleneck adapters, whatever they are trained on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from labs.peft.adapter import method
from tests.labs.tiny import make_network

L, D, FACTOR, M = 2, 64, 16, 4
IDS = torch.tensor([[1, 40, 50, 60, 70, 80], [1, 99, 98, 97, 96, 95]])
PLACEMENTS: tuple[method.Placement, ...] = ("both", "feed_forward")


def adapted(
    placement: method.Placement = "both", activation: method.Activation = "gelu", seed: int = 0
) -> tuple[nn.Module, nn.ModuleList]:
    """The frozen tiny model with an adapter behind each sublayer, before its residual sum."""
    network = make_network().requires_grad_(False)
    torch.manual_seed(seed)
    adapters = nn.ModuleList()
    for layer in network.model.layers:
        parts = [layer.self_attn, layer.mlp] if placement == "both" else [layer.mlp]
        for part in parts:
            adapter = method.Adapter(D, method.bottleneck(D, FACTOR), activation)
            part.register_forward_hook(_through(adapter))
            adapters.append(adapter)
    return network, adapters


def _through(adapter: nn.Module) -> Callable[..., Any]:
    def hook(part: nn.Module, inputs: Any, output: Any) -> Any:
        # Attention gives its weights as well.
        return (adapter(output[0]), *output[1:]) if isinstance(output, tuple) else adapter(output)

    return hook


def trained(network: nn.Module, adapters: nn.ModuleList, steps: int = 3) -> nn.ModuleList:
    optimizer = torch.optim.AdamW(adapters.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        network(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    return adapters


def logits(network: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(input_ids=IDS).logits
    return found


def fresh(activation: method.Activation = "gelu") -> method.Adapter:
    """An adapter that has left its start."""
    torch.manual_seed(3)
    made = method.Adapter(D, M, activation)
    nn.init.normal_(made.up.weight)
    nn.init.normal_(made.up.bias)
    return made


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("activation", method.ACTIVATIONS)
def test_at_the_start_it_says_what_the_base_says(
    placement: method.Placement, activation: method.Activation
) -> None:
    network, _ = adapted(placement, activation)
    assert torch.equal(logits(network), logits(make_network()))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_trained_numbers_follow_the_formula(placement: method.Placement) -> None:
    _, adapters = adapted(placement)
    counted = sum(p.numel() for p in adapters.parameters())
    assert counted == method.count_parameters(L, D, FACTOR, placement)


def test_one_adapter_in_a_layer_costs_half_of_two() -> None:
    assert method.count_parameters(4, 256, 16, "both") == 67_712
    assert method.count_parameters(4, 256, 16, "feed_forward") == 33_856
    assert method.count_parameters(24, 896, 16, "both") == 4_862_592


def test_a_bottleneck_is_never_empty() -> None:
    assert method.bottleneck(32, 64) == 1
    assert method.bottleneck(896, 16) == 56


@pytest.mark.parametrize("activation", method.ACTIVATIONS)
def test_it_computes_what_the_paper_says(activation: method.Activation) -> None:
    adapter, h = fresh(activation), torch.randn(2, 5, D)
    inside = method.ACTIVATIONS[activation](h @ adapter.down.weight.T + adapter.down.bias)
    expected = h + inside @ adapter.up.weight.T + adapter.up.bias
    torch.testing.assert_close(adapter(h), expected)


def test_it_stands_before_the_residual_sum() -> None:
    adapter, x, frozen = fresh(), torch.randn(5, D), nn.Linear(D, D)
    expected = x + frozen(x) + adapter.change(frozen(x))
    torch.testing.assert_close(method.sublayer(x, frozen, adapter), expected)


def test_only_adapters_learn_and_the_way_down_one_step_later() -> None:
    network, adapters = adapted()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    trained(network, adapters, steps=1)
    assert all(a.up.weight.grad.abs().max() > 0 for a in adapters)  # type: ignore[union-attr, operator]
    assert all(a.down.weight.grad.abs().max() == 0 for a in adapters)  # type: ignore[union-attr, operator]
    trained(network, adapters, steps=1)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in adapters.parameters())
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_what_it_adds_lies_in_few_directions() -> None:
    adapter = fresh()
    added = adapter.change(torch.randn(200, D)) - adapter.up.bias
    assert int(torch.linalg.matrix_rank(added, rtol=1e-4)) == M


@pytest.mark.parametrize("activation", method.ACTIVATIONS)
def test_no_weight_can_hold_it(activation: method.Activation) -> None:
    adapter, h = fresh(activation), torch.randn(5, D)
    nn.init.zeros_(adapter.down.bias)
    nn.init.zeros_(adapter.up.bias)
    # What a matrix adds turns its sign with its input.
    assert (adapter.change(h) + adapter.change(-h)).abs().max() > 1e-2


def test_without_its_nonlinearity_it_could_be_merged() -> None:
    adapter, frozen, x = fresh(), nn.Linear(D, D), torch.randn(5, D)
    adapter.activation = nn.Identity()
    up, down = adapter.up, adapter.down
    whole = torch.eye(D) + up.weight @ down.weight
    bias = whole @ frozen.bias + up.weight @ down.bias + up.bias
    merged = x @ (whole @ frozen.weight).T + bias
    torch.testing.assert_close(adapter(frozen(x)), merged, atol=1e-4, rtol=1e-4)


def test_switching_leaves_no_trace() -> None:
    network, adapters = adapted()
    first = {k: v.clone() for k, v in trained(network, adapters).state_dict().items()}
    said = logits(network)
    adapters.load_state_dict(adapted(seed=1)[1].state_dict())
    assert torch.equal(logits(network), logits(make_network()))
    adapters.load_state_dict(first)
    assert torch.equal(logits(network), said)
