"""What must hold of the losses of distillation, whatever the logits."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labs import registry
from labs.common.formatting import Encoded
from labs.compression.distillation.cutting import cut
from labs.compression.distillation.inner import vectors_of, watching
from labs.compression.distillation.labels import Lesson, load_lesson, save_lesson, speak
from labs.compression.distillation.learning import Distilling, Projected
from labs.compression.distillation.method import (
    SoftLabels,
    hidden_loss,
    relation,
    relation_loss,
    soft_labels,
    soft_loss,
)
from labs.compression.distillation.spec import LAB, DistillationParams
from labs.contract import LabError
from tests.labs.families import FAMILIES
from tests.labs.tiny import make_network

SEEDS = st.integers(0, 10_000)
TEMPERATURES = st.floats(1, 10)
ROWS = (Encoded((1, 20, 21, 22, 2), 3), Encoded((1, 30, 31, 2), 2), Encoded((1, 40, 41, 42, 43, 2), 4))  # fmt: skip


def logits(seed: int, size: int = 11, rows: int = 5) -> Tensor:
    return 3 * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))


def params(**changes: object) -> DistillationParams:
    return DistillationParams.model_validate({"top_k": 0, "max_length": 64, **changes})


@settings(max_examples=25)
@given(SEEDS, TEMPERATURES, st.integers(0, 11))
def test_a_student_that_is_its_teacher_has_no_loss(seed: int, t: float, top_k: int) -> None:
    z = logits(seed)
    assert soft_loss(z, soft_labels(z, t, top_k), t).abs().max() < 1e-3 * t


@settings(max_examples=25)
@given(SEEDS, TEMPERATURES)
def test_it_is_the_divergence_times_the_square_of_the_temperature(seed: int, t: float) -> None:
    z, v = logits(seed), logits(seed + 1)
    p, q = torch.log_softmax(z / t, -1), torch.log_softmax(v / t, -1)
    expected = t * t * F.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(soft_loss(v, soft_labels(z, t), t), expected, rtol=1e-4, atol=1e-4)


def gradient(v: Tensor, labels: SoftLabels, t: float) -> Tensor:
    v = v.clone().requires_grad_()
    soft_loss(v, labels, t).sum().backward()  # type: ignore[no-untyped-call]
    assert v.grad is not None
    return v.grad


@settings(max_examples=25)
@given(SEEDS, TEMPERATURES)
def test_its_gradient_is_the_temperature_times_the_distance_of_the_distributions(
    seed: int, t: float
) -> None:
    z, v = logits(seed), logits(seed + 1)
    expected = t * ((v / t).softmax(-1) - (z / t).softmax(-1))
    torch.testing.assert_close(gradient(v, soft_labels(z, t), t), expected, rtol=1e-4, atol=1e-5)


def test_at_high_temperatures_it_matches_centred_logits() -> None:
    """Hinton et al., equation 4: without T² the gradient would go to zero."""
    z, v = logits(0).double(), logits(1).double()
    z, v = z - z.mean(-1, keepdim=True), v - v.mean(-1, keepdim=True)
    found = gradient(v.float(), soft_labels(z.float(), 500), 500)
    torch.testing.assert_close(found, ((v - z) / 11).float(), rtol=0.05, atol=5e-3)


@settings(max_examples=25)
@given(SEEDS, TEMPERATURES, st.integers(1, 10))
def test_kept_tokens_and_the_rest_never_give_more_than_the_whole(
    seed: int, t: float, top_k: int
) -> None:
    z, v = logits(seed), logits(seed + 1)
    whole = soft_loss(v, soft_labels(z, t), t)
    coarse = soft_loss(v, soft_labels(z, t, top_k), t)
    assert (coarse <= whole + 1e-3).all()
    assert (coarse >= -1e-3).all()
    # With all tokens but one the rest is that one.
    nearly = soft_loss(v, soft_labels(z, t, 10), t)
    torch.testing.assert_close(nearly, whole, rtol=1e-3, atol=1e-3)


@settings(max_examples=25)
@given(SEEDS)
def test_a_rotation_common_to_both_sides_changes_no_relation(seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 2, 4, 12, generator=dice)
    turns = torch.linalg.qr(torch.randn(3, 4, 4, generator=dice)).Q
    turn = torch.block_diag(*turns)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(
        relation(a, b, 3).exp(), relation(a @ turn, b @ turn, 3).exp(), rtol=1e-3, atol=1e-4
    )
    other = torch.randn(2, 4, 12, generator=dice)
    apart = relation_loss(relation(other, other, 3), relation(a, b, 3))
    assert (apart > -1e-5).all()
    assert relation_loss(relation(a, b, 3), relation(a, b, 3)).abs().max() < 1e-5


def test_watched_queries_and_keys_give_the_attention_of_the_model() -> None:
    model = make_network()
    ids = torch.tensor([[1, 40, 50, 60, 70]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        with watching(model, 0) as module:
            after = model(input_ids=ids).logits
            seen = vectors_of(module)
        model.set_attn_implementation("eager")
        own = model(input_ids=ids, output_attentions=True).attentions[0]
    assert torch.equal(before, after)
    torch.testing.assert_close(relation(seen.queries, seen.keys, 4).exp(), own)


def test_an_attention_that_computes_in_its_own_way_is_told_so() -> None:
    model = FAMILIES["bloom"]()
    with watching(model) as module, torch.no_grad():
        model(input_ids=torch.tensor([[1, 40, 50]]))
        with pytest.raises(LabError, match="BloomAttention"):
            vectors_of(module)


def test_hidden_states_that_agree_cost_nothing() -> None:
    states = [torch.randn(5, 8), torch.randn(5, 8)]
    whole = [torch.eye(8), torch.eye(8)]
    assert hidden_loss(states, states, whole).max() == 0
    further = [state + 2 for state in states]
    torch.testing.assert_close(hidden_loss(states, further, whole), torch.full((5,), 4.0))


def test_a_student_of_all_layers_is_its_teacher() -> None:
    teacher = make_network()
    ids = torch.tensor([[1, 40, 50, 60, 70]])
    with torch.no_grad():
        said = teacher(input_ids=ids).logits
        assert torch.equal(cut(teacher, [0, 1])(input_ids=ids).logits, said)
        half = cut(teacher, [1])
        assert not torch.equal(half(input_ids=ids).logits, said)
        # It caches under its new number: what it generates with a cache is what it says without.
        cached = half(input_ids=ids[:, :4], use_cache=True)
        last = half(input_ids=ids[:, 4:], past_key_values=cached.past_key_values).logits
        torch.testing.assert_close(last[:, 0], half(input_ids=ids).logits[:, -1])
    assert (half.config.num_hidden_layers, len(half.config.layer_types)) == (1, 1)
    assert (teacher.config.num_hidden_layers, len(teacher.model.layers)) == (2, 2)


class Said(nn.Module):
    """A model that says what it is told."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, **inputs: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits)


def lesson(labelled: int = 3) -> Lesson:
    teacher = make_network(seed=1)
    return Lesson(ROWS, labelled, speak(teacher, ROWS, 0, params(), "cpu", lambda *_: None))


def test_only_positions_that_predict_an_answer_count() -> None:
    objective = Distilling(lesson(), 0, params(), "cpu")
    batch = objective.batch([2, 0])
    model = Said(torch.randn(2, 6, 259))
    objective.loss(model, batch).backward()  # type: ignore[no-untyped-call]
    assert model.logits.grad is not None
    touched = model.logits.grad.abs().sum(-1) > 0
    assert touched.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 0, 0]]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1], [1, 1, 0]])
def test_each_row_meets_its_own_soft_labels(order: list[int]) -> None:
    """A student that is the teacher: only then every position has no loss."""
    objective = Distilling(lesson(), 0, params(hard_weight=0), "cpu")
    with torch.no_grad():
        loss = objective.loss(make_network(seed=1), objective.batch(order))
    assert float(loss) == pytest.approx(0, abs=1e-4)


def test_an_answer_of_the_teacher_is_no_hard_label() -> None:
    objective = Distilling(lesson(labelled=2), 0, params(), "cpu")
    model = make_network()
    objective.loss(model, objective.batch([2]))
    assert objective.parts()["distill/hard_loss"] == 0
    objective.loss(model, objective.batch([1]))
    assert objective.parts()["distill/hard_loss"] > 0


def test_a_kept_distribution_teaches_what_the_teacher_itself_does() -> None:
    teacher, model = make_network(seed=1), make_network()
    offline = Distilling(lesson(), 0, params(), "cpu")
    online = Distilling(lesson(), 0, params(teacher_mode="online"), "cpu", teacher)
    with torch.no_grad():
        losses = [float(each.loss(model, each.batch([0, 2, 1]))) for each in (offline, online)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert offline.parts() == pytest.approx(online.parts(), rel=1e-6)


def test_inner_losses_vanish_where_student_and_teacher_are_one() -> None:
    teacher, own = make_network(seed=1), make_network(seed=1)
    given = params(teacher_mode="online", hidden_weight=1.0, relation_weight=1.0)
    with watching(own) as mine, watching(teacher, 1) as theirs:
        objective = Distilling(lesson(), 0, given, "cpu", teacher, (mine, theirs))
        model = Projected(own, 64)
        loss = objective.loss(model, objective.batch([0, 1]))
        loss.backward()  # type: ignore[no-untyped-call]
    parts = objective.parts()
    assert parts.pop("distill/hard_loss") > 1
    assert parts == pytest.approx(dict.fromkeys(parts, 0.0), abs=1e-5)
    assert set(parts) == {f"distill/{name}_loss" for name in ("soft", "hidden", "relation")}
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("top_k", [0, 8])
def test_a_lesson_survives_the_disk(tmp_path: Path, top_k: int) -> None:
    teacher = make_network(seed=1)
    soft = speak(teacher, ROWS, 0, params(top_k=top_k), "cpu", lambda *_: None)
    save_lesson(Lesson(ROWS, 2, soft), tmp_path)
    found = load_lesson(tmp_path)
    assert (found.rows, found.labelled) == (ROWS, 2)
    assert found.soft is not None
    assert torch.equal(found.soft.log_probs, soft.log_probs)
    assert (found.soft.tokens is None) == (soft.tokens is None) == (top_k == 0)


@pytest.mark.parametrize("name", ["theory.md", "theory.zh-Hant.md"])
def test_the_worked_numbers_of_the_theory_are_what_comes_out(name: str) -> None:
    text = (registry.folder(LAB) / name).read_text(encoding="utf-8")
    z, nothing = torch.tensor([[4.0, 2.0, 0.0]]), torch.zeros(1, 3)
    for t in (1.0, 2.0):
        labels = soft_labels(z, t)
        shown = [f"{p:.3f}" for p in labels.log_probs.exp()[0].tolist()]
        assert ", ".join(shown) in text or "、".join(shown) in text
        assert f"{float(soft_loss(nothing, labels, t)) / t**2:.3f}" in text
    assert f"{float(soft_loss(nothing, soft_labels(z, 2), 2)):.3f}" in text
    given = DistillationParams()
    rows, targets, vocabulary = given.labelled_rows + given.unlabelled_rows, 10, 2048
    assert f"{rows * targets * vocabulary * 4:,}" in text
    # In the file a token's number takes four bytes beside its logarithm, and the rest four more.
    assert f"{rows * targets * (given.top_k * (4 + 4) + 4):,}" in text
    assert f" {rows} " in text
