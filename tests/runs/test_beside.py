"""When a training that succeeded is said to be worse, or no better, than the untouched model."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.metrics.store import MetricFrame
from app.models import Run, RunState
from app.runs.beside import Beside, Verdict, beside_untouched
from app.runs.causes import Step
from labs.contract import Metric
from labs.registry import get

LOSS = Metric("eval/loss", "Validation loss", "", "lower")
ACCURACY = Metric("eval/accuracy", "Exact answers", "fraction", "higher")
LAB = dataclasses.replace(get("lora"), metrics=(LOSS, ACCURACY), headline=ACCURACY.key)
DONE = Run(state=RunState.SUCCEEDED)

curves = st.lists(st.floats(0.125, 64, width=16), min_size=2, max_size=6)


def frame(first: int = 0, train: list[float] | None = None, **held_out: list[float]) -> MetricFrame:
    """Each tenth step from `first` on: what is evaluated, and the training loss if given."""
    series = {f"eval/{name}": values for name, values in held_out.items()}
    if train is not None:
        series["train/loss"] = train
    length = max(map(len, series.values()))
    columns: dict[str, Any] = {}
    for name, values in series.items():
        present = np.arange(length) < len(values)
        columns[name] = (np.resize(np.array(values, float), length), present)
    steps = first + 10 * np.arange(length, dtype=np.int64)
    return MetricFrame(steps, steps.astype(float), columns, length)


def told(**series: list[float]) -> Beside | None:
    return beside_untouched(DONE, LAB, frame(**series))


@given(curves)
def test_it_is_worse_exactly_where_the_end_is_worse_than_the_beginning(curve: list[float]) -> None:
    # As many digits as a page shows.
    shown = [float(f"{value:.4g}") for value in curve]
    assert (told(loss=shown) is not None) == (shown[-1] > shown[0])


@given(curves)
def test_higher_is_to_one_metric_what_lower_is_to_another(curve: list[float]) -> None:
    higher = dataclasses.replace(LAB, metrics=(dataclasses.replace(LOSS, direction="higher"),))
    found = told(loss=curve)
    mirror = beside_untouched(DONE, higher, frame(loss=[-value for value in curve]))
    assert (found is None) == (mirror is None)
    if found is not None and mirror is not None:
        (one,), (other,) = found.changes, mirror.changes
        assert (one.gain, one.best, one.best_step) == (other.gain, -other.best, other.best_step)


@given(curves, st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_where_the_headline_gained_nothing_is_said(loss: list[float], right: list[float]) -> None:
    if round(right[-1], 4) > round(right[0], 4):
        assert told(loss=loss, accuracy=right) is None


def test_both_figures_and_the_step_are_told() -> None:
    found = told(loss=[2.4, 3.0, 9.31])
    assert found is not None
    assert found.verdict is Verdict.WORSE
    (change,) = found.changes
    assert change.words() == "Validation loss: 9.31 at step 20; 2.4 before training."
    assert "No evaluation was better" in found.advice()
    between = told(accuracy=[0.5, 0.75, 0.25])
    assert between is not None
    assert between.changes[0].words() == "Exact answers: 25 % at step 20; 50 % before training."
    assert "better in between" in between.advice()


def test_a_headline_that_gained_nothing_is_told_beside_a_loss_that_did() -> None:
    found = told(loss=[3.5, 3.1], accuracy=[0.0, 0.0])
    assert found is not None
    assert found.verdict is Verdict.NO_BETTER
    assert found.title == "Exact answers: no better than the untouched model"
    assert [each.metric for each in found.changes] == [ACCURACY, LOSS]
    assert found.steps == (Step.CHANGE,)
    assert told(loss=[3.5, 3.1], accuracy=[1.0, 1.0]) is None


def test_a_loss_that_jumped_is_named_and_a_lower_rate_offered() -> None:
    found = told(loss=[3.5, 3.1], accuracy=[0.0, 0.0], train=[3.84, 28.2, math.inf, 3.0])
    assert found is not None
    assert "jumped to 28.2 at step 10; it began at 3.84." in found.advice()
    assert Step.CALMER in found.steps


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_what_is_no_number_any_more_is_worse(end: float) -> None:
    found = told(loss=[2.0, end], train=[2.0, math.nan])
    assert found is not None
    assert found.verdict is Verdict.WORSE


@pytest.mark.parametrize("curve", [[2.0], [math.nan, 3.0], [math.inf, 3.0], [2.0, 2.0000001]])
def test_without_a_measured_baseline_or_a_difference_nothing_is_said(curve: list[float]) -> None:
    assert told(loss=curve) is None


def test_a_first_evaluation_after_training_is_no_baseline() -> None:
    assert beside_untouched(DONE, LAB, frame(first=10, loss=[2.0, 9.0])) is None


def test_only_a_training_that_succeeded_is_judged() -> None:
    worse = frame(loss=[2.0, 9.0])
    assert beside_untouched(Run(state=RunState.RUNNING), LAB, worse) is None
    assert beside_untouched(DONE, dataclasses.replace(LAB, chapter="compression"), worse) is None
