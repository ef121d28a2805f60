"""When a training that succeeded is said to be worse than the untouched model."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.metrics.store import MetricFrame
from app.models import Run, RunState
from app.runs.untouched import Change, worsened
from labs.contract import Metric
from labs.registry import get

LOSS = Metric("eval/loss", "Validation loss", "", "lower")
ACCURACY = Metric("eval/accuracy", "Exact answers", "fraction", "higher")
LAB = dataclasses.replace(get("lora"), metrics=(LOSS, ACCURACY))
DONE = Run(state=RunState.SUCCEEDED)

curves = st.lists(st.floats(0.125, 64, width=16), min_size=2, max_size=6)


def frame(first: int = 0, **series: list[float]) -> MetricFrame:
    """Evaluations each tenth step from `first` on, of `loss` and `accuracy`."""
    length = max(map(len, series.values()))
    columns: dict[str, Any] = {}
    for name, values in series.items():
        present = np.arange(length) < len(values)
        columns[f"eval/{name}"] = (np.resize(np.array(values, float), length), present)
    steps = first + 10 * np.arange(length, dtype=np.int64)
    return MetricFrame(steps, steps.astype(float), columns, length)


def told(**series: list[float]) -> list[Change]:
    return worsened(DONE, LAB, frame(**series))


@given(curves)
def test_it_is_told_exactly_where_the_end_is_worse_than_the_beginning(curve: list[float]) -> None:
    # As many digits as a page shows.
    shown = [float(f"{value:.4g}") for value in curve]
    assert bool(told(loss=shown)) == (shown[-1] > shown[0])


@given(curves)
def test_higher_is_to_one_metric_what_lower_is_to_another(curve: list[float]) -> None:
    mirrored = dataclasses.replace(LAB, metrics=(dataclasses.replace(LOSS, direction="higher"),))
    found = told(loss=curve)
    mirror = worsened(DONE, mirrored, frame(loss=[-value for value in curve]))
    assert [(each.gain, each.best, each.best_step) for each in found] == [
        (each.gain, -each.best, each.best_step) for each in mirror
    ]


def test_both_figures_and_the_step_are_told() -> None:
    (change,) = told(loss=[2.4, 3.0, 9.31])
    assert change.words() == "Validation loss: 9.31 at step 20; 2.4 before training."
    assert not change.was_better
    (accuracy,) = told(accuracy=[0.5, 0.75, 0.25])
    assert accuracy.words() == "Exact answers: 25 % at step 20; 50 % before training."
    assert (accuracy.was_better, accuracy.best, accuracy.best_step) == (True, 0.75, 10)


def test_where_one_metric_gained_nothing_is_said() -> None:
    assert told(loss=[2.0, 2.5], accuracy=[0.1, 0.9]) == []
    assert [each.metric for each in told(loss=[2.0, 2.5], accuracy=[0.0, 0.0])] == [LOSS]


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_what_is_no_number_any_more_is_worse(end: float) -> None:
    (change,) = told(loss=[2.0, end])
    assert not change.was_better


@pytest.mark.parametrize("curve", [[2.0], [math.nan, 3.0], [math.inf, 3.0], [2.0, 2.0000001]])
def test_without_a_measured_baseline_or_a_difference_nothing_is_said(curve: list[float]) -> None:
    assert told(loss=curve) == []


def test_a_first_evaluation_after_training_is_no_baseline() -> None:
    assert worsened(DONE, LAB, frame(first=10, loss=[2.0, 9.0])) == []


def test_only_a_training_that_succeeded_is_judged() -> None:
    worse = frame(loss=[2.0, 9.0])
    assert worsened(Run(state=RunState.RUNNING), LAB, worse) == []
    assert worsened(DONE, dataclasses.replace(LAB, chapter="compression"), worse) == []
