"""What must hold of prefix tuning, whatever it is trained on."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel, PrefixTuningConfig, TaskType, get_peft_model
from torch import Tensor
from transformers import DynamicCache

from labs.peft.prefix_tuning import method
from tests.labs.tiny import make_network

L, T, KV_HEADS, HEAD_DIM, W = 2, 5, 2, 16, 24
K = KV_HEADS * HEAD_DIM
IDS = torch.tensor([[1, 40, 50, 60, 70, 80], [1, 99, 98, 97, 96, 95]])
MASK = torch.ones_like(IDS)


def network() -> method.PrefixNetwork:
    torch.manual_seed(1)
    return method.PrefixNetwork(T, L, K, W)


def peft_model(base: Any = None, **changes: Any) -> Any:
    config = PrefixTuningConfig(
        task_type=TaskType.CAUSAL_LM, num_virtual_tokens=T, encoder_hidden_size=W, **changes
    )
    return get_peft_model(base or make_network(), config).eval()


def given(prefix: Tensor | method.PrefixNetwork) -> Any:
    """peft's model with our network, or with a folded prefix."""
    if isinstance(prefix, Tensor):
        model = peft_model()
        model.prompt_encoder["default"].embedding.weight.data.copy_(prefix)
        return model
    model = peft_model(prefix_projection=True)
    model.prompt_encoder["default"].load_state_dict(prefix.state_dict())
    return model


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(input_ids=IDS, attention_mask=MASK).logits
    return found


@torch.no_grad()
def said(prefix: Tensor) -> Tensor:
    """What the base says with the prefix in its cache."""
    layers = method.by_layer(prefix, L, KV_HEADS)
    cache = DynamicCache([tuple(part.expand(2, -1, -1, -1) for part in pair) for pair in layers])
    mask = F.pad(MASK, (T, 0), value=1)
    found: Tensor = make_network()(input_ids=IDS, attention_mask=mask, past_key_values=cache).logits
    return found


def parts(n: int = 4) -> tuple[Tensor, ...]:
    """One query, keys and values of a text, and of a prefix; two heads."""
    torch.manual_seed(2)
    shapes = (1, n, n, T, T)
    return tuple(torch.randn(2, length, HEAD_DIM, dtype=torch.float64) for length in shapes)


def test_peft_writes_the_same_keys_and_values() -> None:
    ours = network()
    torch.testing.assert_close(logits(given(ours)), said(ours().detach()), atol=1e-5, rtol=0)


def test_the_folded_prefix_says_what_the_network_said() -> None:
    ours = network()
    folded = method.fold(ours)
    assert torch.equal(folded, ours())
    torch.testing.assert_close(logits(given(folded)), logits(given(ours)), atol=1e-6, rtol=0)


def test_peft_saves_the_folded_prefix_and_loads_it(tmp_path: Path) -> None:
    ours = network()
    model = given(ours)
    saved = model.get_prompt_embedding_to_save("default")
    torch.testing.assert_close(saved, method.fold(ours))
    assert saved.numel() == method.count_stored(T, L, K)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make_network(), str(tmp_path)).eval()
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-6, rtol=0)


def test_no_start_leaves_the_model_as_it_was() -> None:
    before = logits(make_network())
    for prefix in (method.fold(network()), torch.zeros(T, L * 2 * K)):
        assert (said(prefix) - before).abs().max() > 1e-4


@pytest.mark.parametrize("reparameterize", [False, True])
def test_trained_numbers_follow_the_formula(reparameterize: bool) -> None:
    model = peft_model(prefix_projection=reparameterize)
    trainable, _ = model.get_nb_trainable_parameters()
    with_network = method.count_with_network(T, L, K, W)
    assert trainable == (with_network if reparameterize else method.count_stored(T, L, K))


def test_the_network_costs_many_times_what_is_stored() -> None:
    assert method.count_stored(16, 4, 128) == 16_384
    assert method.count_with_network(16, 4, 128, 128) == 150_656
    assert method.count_stored(16, 24, 128) == 98_304
    assert method.count_with_network(16, 24, 128, 512) == 3_219_968


@pytest.mark.parametrize("reparameterize", [False, True])
def test_every_part_learns_and_nothing_else(reparameterize: bool) -> None:
    model = peft_model(prefix_projection=reparameterize)
    model(input_ids=IDS, attention_mask=MASK, labels=IDS).loss.backward()
    reached = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert [name for name in reached if "prompt_encoder" not in name] == []
    assert len(reached) == (5 if reparameterize else 1)
    assert all(gradient.abs().max() > 0 for gradient in reached.values())


def test_gates_give_what_longer_keys_and_values_give() -> None:
    q, k, v, prefix_k, prefix_v = parts()
    ours = method.attend_with_prefix(q, k, v, prefix_k, prefix_v)
    theirs = F.scaled_dot_product_attention(
        q, torch.cat([prefix_k, k], 1), torch.cat([prefix_v, v], 1)
    )
    torch.testing.assert_close(ours, theirs)


def test_values_of_zero_only_dim_the_text() -> None:
    q, k, v, prefix_k, prefix_v = parts()
    ours = method.attend_with_prefix(q, k, v, prefix_k, torch.zeros_like(prefix_v))
    dimmed = (1 - method.share(q, k, prefix_k)) * method.attend(q, k, v)
    torch.testing.assert_close(ours, dimmed)


def test_a_longer_prefix_takes_a_larger_share() -> None:
    q, k, _, prefix_k, _ = parts()
    shares = torch.stack([method.share(q, k, prefix_k[:, :n]) for n in range(1, T + 1)])
    assert (shares > 0).all()
    assert (shares.diff(dim=0) > 0).all()


def test_peft_refuses_gradient_checkpointing() -> None:
    base = make_network()
    base.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="gradient checkpointing"):
        peft_model(base)
