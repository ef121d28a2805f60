"""What must hold of P-Tuning v2, whatever it is trained on."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import PrefixTuningConfig, TaskType, get_peft_model
from torch import Tensor
from transformers import DynamicCache, Qwen2ForSequenceClassification

from labs.peft.p_tuning_v2 import method
from tests.labs.tiny import make_network

L, T, KV_HEADS, HEAD_DIM, LABELS = 2, 5, 2, 16, 6
IDS = torch.tensor([[1, 40, 50, 60, 70, 80], [1, 99, 98, 97, 96, 95]])


def fresh_prompt() -> method.DeepPrompt:
    torch.manual_seed(1)
    return method.DeepPrompt(L, T, KV_HEADS, HEAD_DIM)


def peft_with(network: Any, task: TaskType) -> Any:
    config = PrefixTuningConfig(task_type=task, num_virtual_tokens=T, prefix_projection=False)
    return get_peft_model(network, config).eval()


def classifier() -> Any:
    make: Any = Qwen2ForSequenceClassification  # transformers leaves it untyped
    config: Any = make_network().config
    config.num_labels = LABELS
    torch.manual_seed(0)
    return make(config).eval()


def give(model: Any, prompt: method.DeepPrompt) -> None:
    model.prompt_encoder["default"].embedding.weight.data.copy_(prompt.vectors.flatten(1))


def parts(n: int = 4) -> tuple[Tensor, ...]:
    """Queries, keys, values of a text, and a prompt's keys and values, for two heads."""
    torch.manual_seed(2)
    shapes = (n, n, n, T, T)
    return tuple(torch.randn(2, length, HEAD_DIM, dtype=torch.float64) for length in shapes)


@torch.no_grad()
def test_peft_puts_the_same_keys_and_values_before_the_text() -> None:
    prompt, model = fresh_prompt(), peft_with(make_network(), TaskType.CAUSAL_LM)
    give(model, prompt)
    mask = torch.ones(2, T + IDS.shape[1], dtype=torch.long)
    plain = make_network()(
        input_ids=IDS, attention_mask=mask, past_key_values=DynamicCache(prompt(batch=2))
    )
    theirs = model(input_ids=IDS, attention_mask=mask[:, T:])
    torch.testing.assert_close(plain.logits, theirs.logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_any_prompt_changes_what_the_model_says() -> None:
    model = peft_with(make_network(), TaskType.CAUSAL_LM)
    before = make_network()(input_ids=IDS).logits
    for scale in (1.0, 0.0):
        model.prompt_encoder["default"].embedding.weight.data.mul_(scale)
        after = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
        assert (after - before).abs().max() > 1e-4


@pytest.mark.parametrize(("task", "labels"), [("CAUSAL_LM", 0), ("SEQ_CLS", LABELS)])
def test_trained_numbers_follow_the_formula(task: str, labels: int) -> None:
    network = classifier() if labels else make_network()
    trainable, _ = peft_with(network, TaskType(task)).get_nb_trainable_parameters()
    assert trainable == method.count_parameters(L, T, KV_HEADS, HEAD_DIM, labels, 64)


def test_the_classification_head_is_trained_and_saved() -> None:
    model = peft_with(classifier(), TaskType.SEQ_CLS)
    model(input_ids=IDS, labels=torch.tensor([0, 3])).loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert any(".score." in name for name in reached)
    assert any("prompt_encoder" in name for name in reached)
    assert len(reached) == 2


@torch.no_grad()
def test_the_label_is_read_from_the_last_token() -> None:
    network = classifier()
    ids = torch.cat([IDS, torch.zeros(2, 2, dtype=torch.long)], dim=1)
    ids[1, 4] = 0
    lengths = torch.tensor([6, 6])  # the rightmost token that is no padding
    states = network.model(input_ids=ids).last_hidden_state
    ours = method.classify(states, lengths, network.score.weight)
    torch.testing.assert_close(ours, network(input_ids=ids).logits)
    assert ours.shape == (2, LABELS)


def test_attention_sees_the_whole_prompt_and_no_later_token() -> None:
    q, k, v, prompt_k, prompt_v = parts()
    ours = method.prompted_attention(q, k, v, prompt_k, prompt_v)
    allowed = torch.ones(4, T + 4, dtype=torch.bool).tril(diagonal=T)
    theirs = F.scaled_dot_product_attention(
        q, torch.cat([prompt_k, k], 1), torch.cat([prompt_v, v], 1), attn_mask=allowed
    )
    torch.testing.assert_close(ours, theirs)
