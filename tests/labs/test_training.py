"""The loop: weighting, schedule, resuming, stopping, divergence."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from labs.common.batches import IGNORED, collate, rows_of_step
from labs.common.evaluation import mean_loss
from labs.common.formatting import Encoded
from labs.common.loss import answer_loss, count_targets
from labs.common.params import TrainingParams
from labs.common.schedule import learning_rate, total_steps
from labs.common.state import TrainingState
from labs.common.training import fit, update
from labs.contract import Diverged, Stopped
from labs.rundir import DirectoryContext
from tests.labs.runs import events_of, losses, make_context, make_spec
from tests.labs.tiny import make_network

# Lengths and answers differ, so that a mean of means is not the mean.
ROWS = [Encoded((1, *range(20, 22 + i), 2), 1 + i % 3) for i in range(10)]


def params(**changes: object) -> TrainingParams:
    given = {"steps": 6, "evaluation_interval": 2, "batch_size": 4, "learning_rate": 0.01}
    return TrainingParams.model_validate({**given, **changes})


def train_in(context: DirectoryContext, given: TrainingParams, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = make_network(seed)
    fit(model, ROWS, 0, given, context, lambda: {"eval/loss": mean_loss(model, ROWS, 0, "cpu")})
    return model


def stop_after(calls: int) -> Callable[[], bool]:
    count = itertools.count()
    return lambda: next(count) >= calls


@pytest.mark.parametrize("accumulation", [2, 5, 10])
def test_accumulated_batches_weigh_every_token_the_same(accumulation: int) -> None:
    whole, parts = make_network(), make_network()
    given = params()
    size = len(ROWS) // accumulation
    batches = [collate(ROWS[i : i + size], 0, "cpu") for i in range(0, len(ROWS), size)]
    states = TrainingState(whole, given, "cpu"), TrainingState(parts, given, "cpu")
    at_once = update(states[0], [collate(ROWS, 0, "cpu")], given, 0.01)
    in_parts = update(states[1], batches, given, 0.01)
    assert in_parts == pytest.approx(at_once, rel=1e-5)
    for first, second in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_the_loss_counts_answers_and_ends_but_no_prompt_and_no_padding() -> None:
    batch = collate([Encoded((5, 6, 7, 8, 2), 3), Encoded((5, 6, 2), 1)], 2, "cpu")
    assert batch["labels"].tolist() == [
        [IGNORED, IGNORED, IGNORED, 8, 2],
        [IGNORED, 6, 2, IGNORED, IGNORED],
    ]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert count_targets(batch) == 4


def test_padding_does_not_change_the_loss_even_with_the_end_token() -> None:
    model = make_network()
    short = Encoded((1, 20, 21, 2), 2)
    longer = Encoded((1, *range(20, 40), 2), 2)
    with torch.no_grad():
        alone = float(answer_loss(model, collate([short], 2, "cpu")))
    beside = collate([short, longer], 2, "cpu")
    beside["labels"][1] = IGNORED
    with torch.no_grad():
        together = float(answer_loss(model, beside))
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_validation_loss_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    model = make_network()
    assert mean_loss(model, ROWS, 0, "cpu", batch_size=batch_size) == pytest.approx(
        mean_loss(model, ROWS, 0, "cpu", batch_size=len(ROWS)), abs=1e-5
    )


def test_every_row_is_seen_once_in_each_epoch() -> None:
    seen = [row for step in range(1, 11) for row in rows_of_step(20, 4, step, seed=3)]
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]
    assert seen == [row for step in range(1, 11) for row in rows_of_step(20, 4, step, seed=3)]
    assert seen != [row for step in range(1, 11) for row in rows_of_step(20, 4, step, seed=4)]


def test_a_batch_may_be_larger_than_the_data() -> None:
    assert sorted(rows_of_step(3, 6, 1, seed=0)) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_rate_warms_up_and_then_falls(schedule: str) -> None:
    given = params(schedule=schedule, warmup_fraction=0.1, learning_rate=1.0)
    rates = [learning_rate(given, step, 100) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(1.0 if schedule == "constant" else 0.0, abs=0.02)


def test_epochs_decide_the_steps_when_they_are_set() -> None:
    assert total_steps(params(steps=7), 100) == 7
    assert total_steps(params(epochs=2, batch_size=8, gradient_accumulation=2), 100) == 13


def test_the_untouched_model_is_step_zero(tmp_path: Path) -> None:
    context = make_context(tmp_path, make_spec(tmp_path, tmp_path))
    train_in(context, params())
    first = events_of(tmp_path, "metrics")[0]
    assert first["step"] == 0
    assert first["values"] == {
        "eval/loss": pytest.approx(mean_loss(make_network(), ROWS, 0, "cpu"))
    }


@pytest.mark.parametrize("stop_at", [1, 3, 4, 5])
def test_a_stopped_training_goes_on_with_the_same_losses(tmp_path: Path, stop_at: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    undisturbed = train_in(make_context(whole, make_spec(whole, whole)), params())
    # `stopping` is asked once before each step, and once more by `check_stop`.
    first = make_context(parts, make_spec(parts, parts), stop_after(stop_at))
    with pytest.raises(Stopped):
        train_in(first, params())
    resumed = train_in(make_context(parts, make_spec(parts, parts, attempt=2)), params(), seed=9)
    assert losses(parts) == losses(whole)
    assert set(losses(parts, attempt=2)) == set(range(stop_at + 1, 7))
    for ours, theirs in zip(resumed.parameters(), undisturbed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_resuming_names_the_step_before_any_metric(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train_in(make_context(tmp_path, make_spec(tmp_path, tmp_path), stop_after(3)), params())
    train_in(make_context(tmp_path, make_spec(tmp_path, tmp_path, attempt=2)), params())
    second = [e for e in events_of(tmp_path, "resumed") if e["attempt"] == 2]
    assert [event["step"] for event in second] == [3]
    assert min(losses(tmp_path, attempt=2)) == 4


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    context = make_context(tmp_path, make_spec(tmp_path, tmp_path))
    model = make_network()
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    with pytest.raises(Diverged, match="nan at step 1"):
        fit(model, ROWS, 0, params(), context, lambda: {"eval/loss": 1.0})
    assert losses(tmp_path) == {1: "NaN"}


def test_the_best_weights_are_kept_not_the_last(tmp_path: Path) -> None:
    context = make_context(tmp_path, make_spec(tmp_path, tmp_path))
    model = make_network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    worse = itertools.count(1.0)
    result = fit(model, ROWS, 0, params(), context, lambda: {"eval/loss": next(worse)})
    assert (result.best_step, result.steps) == (0, 6)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_patience_ends_a_training_that_no_longer_gains(tmp_path: Path) -> None:
    context = make_context(tmp_path, make_spec(tmp_path, tmp_path))
    worse = itertools.count(1.0)
    given = params(early_stopping_patience=2)
    result = fit(make_network(), ROWS, 0, given, context, lambda: {"eval/loss": next(worse)})
    assert (result.steps, result.stopped_early) == (4, True)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_too(tmp_path: Path, precision: str) -> None:
    context = make_context(tmp_path, make_spec(tmp_path, tmp_path))
    train_in(context, params(precision=precision, steps=8))
    found = losses(tmp_path)
    assert found[8] < found[1]


def test_checkpointed_gradients_give_the_same_losses(tmp_path: Path) -> None:
    kept = train_in(make_context(tmp_path / "a", make_spec(tmp_path, tmp_path)), params(steps=2))
    torch.manual_seed(0)
    model = make_network()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    context = make_context(tmp_path / "b", make_spec(tmp_path, tmp_path))
    fit(
        model,
        ROWS,
        0,
        params(steps=2),
        context,
        lambda: {"eval/loss": mean_loss(model, ROWS, 0, "cpu")},
    )
    assert losses(tmp_path / "a") == pytest.approx(losses(tmp_path / "b"), rel=1e-5)
    assert kept is not model


def test_a_loss_that_is_no_number_is_never_the_best_for_long() -> None:
    state = TrainingState(make_network(), params(), "cpu")
    for step, loss in enumerate((math.nan, 3.0, math.nan, 4.0, 2.0)):
        state.step = step
        state.note_evaluation(loss)
    assert (state.best_step, state.best_loss) == (4, 2.0)
