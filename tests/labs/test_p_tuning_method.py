"""What must hold of P-Tuning, whatever it is trained on."""

from typing import Any

import pytest
import torch
from peft import PromptEncoderConfig, PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor

from labs.peft.p_tuning import method
from labs.peft.p_tuning.counting import Encoder
from tests.labs.tiny import make_network

T, D, W = 5, 64, 24
IDS = torch.tensor([[1, 40, 50, 60, 70, 80], [1, 99, 98, 97, 96, 95]])
KINDS: tuple[tuple[Encoder, int], ...] = (("mlp", 2), ("lstm", 1), ("lstm", 3))


def encoder_of(kind: Encoder, layers: int) -> method.PromptEncoder:
    torch.manual_seed(1)
    return method.PromptEncoder(T, D, W, kind, layers)


def peft_with(kind: Encoder, layers: int) -> Any:
    """The tiny model under peft's P-Tuning; the MLP's depth is fixed there."""
    depth: dict[str, Any] = {"encoder_num_layers": layers} if kind == "lstm" else {}
    config = PromptEncoderConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=T,
        encoder_hidden_size=W,
        encoder_reparameterization_type=kind.upper(),
        **depth,
    )
    return get_peft_model(make_network(), config).eval()


def frozen() -> Any:
    return make_network().requires_grad_(False)


@torch.no_grad()
def logits(network: Any, **inputs: Tensor) -> Tensor:
    found: Tensor = network(**inputs).logits
    return found


@pytest.mark.parametrize(("kind", "layers"), KINDS)
def test_peft_writes_the_same_prompt(kind: Encoder, layers: int) -> None:
    ours, model = encoder_of(kind, layers), peft_with(kind, layers)
    model.prompt_encoder["default"].load_state_dict(ours.state_dict())
    with torch.no_grad():
        theirs = model.get_prompt(batch_size=2)
    torch.testing.assert_close(theirs, method.fold(ours).expand(2, -1, -1))


@pytest.mark.parametrize(("kind", "layers"), KINDS)
def test_trained_numbers_follow_the_formula(kind: Encoder, layers: int) -> None:
    counted = sum(p.numel() for p in encoder_of(kind, layers).parameters())
    trainable, _ = peft_with(kind, layers).get_nb_trainable_parameters()
    assert counted == trainable == method.count_parameters(T, D, W, kind, layers)


def test_the_encoder_may_outgrow_the_model_it_prompts() -> None:
    assert method.count_parameters(16, 256, 256, "mlp") == 201_472
    assert method.count_parameters(16, 256, 256, "lstm", 2) == 3_027_712


@pytest.mark.parametrize(("kind", "layers"), KINDS)
def test_the_folded_prompt_says_what_the_encoder_says(kind: Encoder, layers: int) -> None:
    ours, model = encoder_of(kind, layers), peft_with(kind, layers)
    model.prompt_encoder["default"].load_state_dict(ours.state_dict())
    with_encoder = logits(model, input_ids=IDS)

    base: Any = make_network()
    embeddings = base.get_input_embeddings()(IDS)
    plain = logits(base, inputs_embeds=method.prepended(method.fold(ours), embeddings))
    torch.testing.assert_close(plain, with_encoder, atol=1e-5, rtol=0)
    assert plain.shape[1] == T + IDS.shape[1]


@pytest.mark.parametrize(("kind", "layers"), KINDS)
def test_folded_it_is_prompt_tuning(kind: Encoder, layers: int) -> None:
    ours = encoder_of(kind, layers)
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=T)
    table: Any = get_peft_model(make_network(), config).eval()
    table.prompt_encoder["default"].embedding.weight.data.copy_(method.fold(ours))
    base: Any = make_network()
    embeddings = base.get_input_embeddings()(IDS)
    plain = logits(base, inputs_embeds=method.prepended(method.fold(ours), embeddings))
    torch.testing.assert_close(logits(table, input_ids=IDS), plain, atol=1e-5, rtol=0)


def test_a_fresh_prompt_changes_what_the_model_says() -> None:
    base: Any = make_network()
    embeddings = base.get_input_embeddings()(IDS)
    prompted = method.prepended(method.fold(encoder_of("mlp", 2)), embeddings)
    after = logits(base, inputs_embeds=prompted)[:, T:]
    assert (after - logits(base, input_ids=IDS)).abs().max() > 1e-4


@pytest.mark.parametrize(("kind", "layers"), KINDS)
def test_gradient_reaches_the_encoder_and_nothing_else(kind: Encoder, layers: int) -> None:
    encoder, base = encoder_of(kind, layers), frozen()
    prompted = method.prepended(encoder(), base.get_input_embeddings()(IDS))
    base(inputs_embeds=prompted).logits[:, T:].logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())
    assert all(p.grad is None for p in base.parameters())


@pytest.mark.parametrize(("kind", "apart"), [("mlp", True), ("lstm", False)])
def test_only_the_lstm_lets_vectors_shape_each_other(kind: Encoder, apart: bool) -> None:
    encoder = encoder_of(kind, layers=1)
    before = method.fold(encoder)
    encoder.embedding.weight.data[0] += 1.0
    first, *others = method.distance(method.fold(encoder), before).tolist()
    assert first > 1e-4
    assert (max(others) == 0.0) is apart


def test_distance_is_measured_vector_by_vector() -> None:
    start = torch.zeros(2, 2)
    now = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert method.distance(now, start).tolist() == [5.0, 0.0]
    assert method.distance(start, start).tolist() == [0.0, 0.0]
