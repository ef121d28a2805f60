"""What must hold of prompt tuning, whatever it is trained on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor

from labs.fields import parse
from labs.peft.prompt_tuning import method
from labs.peft.prompt_tuning.spec import PromptTuningParams
from tests.labs.tiny import make_network, make_tokenizer

T, D = 5, 64
IDS = torch.tensor([[1, 40, 50, 60, 70, 80], [1, 99, 98, 97, 0, 0]])
MASK = (IDS > 0).long()
LABELS = torch.where(IDS > 1, IDS, method.IGNORED)
WORDS = [11, 12, 13]


def table() -> Tensor:
    network: Any = make_network()
    found: Tensor = network.get_input_embeddings().weight.detach()
    return found


def prompt() -> Tensor:
    torch.manual_seed(1)
    return method.from_noise(T, table())


def peft_model(**changes: Any) -> Any:
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=T, **changes)
    return get_peft_model(make_network(), config).eval()


def given(vectors: Tensor) -> Any:
    model = peft_model()
    model.prompt_encoder["default"].embedding.weight.data.copy_(vectors)
    return model


@torch.no_grad()
def said(vectors: Tensor, ids: Tensor = IDS, mask: Tensor = MASK, labels: Tensor = LABELS) -> Any:
    """What the frozen model makes of a batch with the vectors before it."""
    network: Any = make_network()
    batch = method.prepend(vectors, network.get_input_embeddings()(ids), mask, labels)
    return network(inputs_embeds=batch.embeddings, attention_mask=batch.mask, labels=batch.labels)


@torch.no_grad()
def test_peft_puts_the_same_vectors_before_the_text() -> None:
    ours, theirs = said(prompt()), given(prompt())(IDS, attention_mask=MASK, labels=LABELS)
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_start_from_words_says_what_the_words_say() -> None:
    text = torch.tensor(WORDS).expand(2, -1)
    ids, mask = torch.cat([text, IDS], 1), torch.cat([torch.ones_like(text), MASK], 1)
    plain = make_network()(input_ids=ids, attention_mask=mask).logits
    ours = said(method.from_text(WORDS, len(WORDS), table())).logits
    torch.testing.assert_close(ours, plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("start", ["noise", "words", "zeros"])
def test_no_start_leaves_the_model_as_it_was(start: str) -> None:
    starts = {
        "noise": prompt(),
        "words": method.from_text(WORDS, T, table()),
        "zeros": torch.zeros(T, D),
    }
    with torch.no_grad():
        before = make_network()(input_ids=IDS, attention_mask=MASK).logits
    assert (said(starts[start]).logits[:, T:] - before).abs().max() > 1e-4


def test_the_prompt_is_seen_and_never_asked_for() -> None:
    batch = method.prepend(prompt(), torch.zeros(2, 6, D), MASK, LABELS)
    assert [part.shape[1] for part in batch] == [T + 6] * 3
    assert batch.mask[:, :T].eq(1).all()
    assert batch.labels[:, :T].eq(method.IGNORED).all()
    assert torch.equal(batch.labels[:, T:], LABELS)


@pytest.mark.parametrize("virtual_tokens", [2, 3, 8])
def test_text_is_repeated_or_cut_as_peft_does_it(tiny_model: Path, virtual_tokens: int) -> None:
    config = PromptTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=virtual_tokens,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="abc",
        tokenizer_name_or_path=str(tiny_model),
    )
    model: Any = get_peft_model(make_network(), config)
    ids = make_tokenizer()("abc")["input_ids"]
    expected = model.prompt_encoder["default"].embedding.weight
    torch.testing.assert_close(method.from_text(ids, virtual_tokens, table()), expected.detach())


def test_a_start_from_words_is_a_copy() -> None:
    words, source = method.from_text(WORDS, T, kept := table()), kept.clone()
    words += 1
    assert torch.equal(kept, source)


def test_noise_is_as_long_as_words_are() -> None:
    torch.manual_seed(0)
    noise = method.from_noise(200, table()).norm(dim=1).mean()
    words = table().norm(dim=1).mean()
    assert 0.9 < noise / words < 1.1
    assert peft_model().prompt_encoder["default"].embedding.weight.norm(dim=1).mean() > 10 * words


def test_trained_numbers_follow_the_formula() -> None:
    trainable, _ = peft_model().get_nb_trainable_parameters()
    assert trainable == method.count_parameters(T, D) == 320
    assert method.count_parameters(16, 256) == 4_096
    assert method.count_parameters(16, 896) == 14_336


def test_every_vector_learns_and_nothing_else() -> None:
    model = peft_model()
    model(IDS, attention_mask=MASK, labels=LABELS).loss.backward()
    reached = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert [name for name in reached if "prompt_encoder" not in name] == []
    (gradient,) = reached.values()
    assert gradient.abs().amax(dim=1).min() > 0


def test_a_word_is_its_own_nearest_whatever_its_length() -> None:
    words = method.from_text(WORDS, 3, table())
    for scale in (1.0, 7.0):
        cosines, ids = method.nearest_words(scale * words, table(), count=2)
        assert ids[:, 0].tolist() == WORDS
        torch.testing.assert_close(cosines[:, 0], torch.ones(3))
        assert (cosines[:, 1] < 1).all()


@torch.no_grad()
def test_rows_of_one_batch_may_have_different_tasks() -> None:
    first, second = prompt(), method.from_text(WORDS, T, table())
    together = said(torch.stack([first, second])).logits
    for row, vectors in enumerate((first, second)):
        alone = said(vectors, IDS[row : row + 1], MASK[row : row + 1], LABELS[row : row + 1])
        seen = slice(0, T + int(MASK[row].sum()))
        torch.testing.assert_close(together[row, seen], alone.logits[0, seen], atol=1e-5, rtol=0)


def test_a_start_from_nothing_is_refused_at_its_field() -> None:
    _, wrong = parse(PromptTuningParams, {"initial_text": " \n "})
    assert list(wrong) == ["initial_text"]
    assert PromptTuningParams.model_validate({"initial_text": " Sort it. "}).initial_text == (
        "Sort it."
    )
