"""Which run is best, and where it stands in a picture: laws of small functions."""

import math
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.metrics.store import LatestValue, MetricFrame
from app.models import Run, RunState
from app.sweeps.pictures import LEVELS, Result, map_over, ordered, points_along
from app.sweeps.results import Best, Outcome, best_of, chosen, judged, outcome_of
from labs.contract import Metric
from labs.registry import get

LORA = get("lora")
LOSS, ACCURACY = LORA.metric("eval/loss"), LORA.metric("eval/accuracy")
PEAK = LORA.metric("memory/peak_bytes")
numbers = st.floats(-1e6, 1e6)


def frame(key: str, values: list[float]) -> MetricFrame:
    steps = np.arange(len(values), dtype=np.int64) * 10
    column = (np.array(values), np.ones(len(values), dtype=bool))
    return MetricFrame(steps, steps.astype(np.float64), {key: column}, len(values))


def best(metric: Metric, *values: float | None, states: Any = (), losses: Any = ()) -> Best | None:
    runs = [
        Run(id=UUID(int=at), state=states[at] if states else RunState.SUCCEEDED)
        for at in range(len(values))
    ]
    outcomes = {UUID(int=at): Outcome(value, value, 10) for at, value in enumerate(values)}
    latest = {
        UUID(int=at): {"eval/loss": LatestValue(10, loss, loss, loss, loss)}
        for at, loss in enumerate(losses or [1.0] * len(values))
    }
    return best_of(LORA, metric, runs, outcomes, latest)


@given(st.lists(numbers, min_size=2, max_size=8))
def test_nothing_is_better_than_the_best(values: list[float]) -> None:
    lowest, highest = best(LOSS, *values), best(ACCURACY, *values)
    assert lowest is not None
    assert highest is not None
    assert values[lowest.run_id.int] == min(values)
    assert values[highest.run_id.int] == max(values)


def test_the_best_step_counts_and_not_the_last() -> None:
    outcome = outcome_of(LOSS, frame("eval/loss", [3.0, 1.0, math.nan, 2.0]))
    assert (outcome.final, outcome.best, outcome.step) == (2.0, 1.0, 10)
    assert outcome_of(PEAK, frame("memory/peak_bytes", [9.0, 5.0])) == Outcome(5.0, 5.0)
    assert outcome_of(LOSS, frame("eval/loss", [math.nan])).best is None
    assert outcome_of(LOSS, frame("train/loss", [1.0])) == Outcome()


def test_a_run_that_failed_is_never_the_best() -> None:
    states = [RunState.FAILED, RunState.SUCCEEDED, RunState.RUNNING]
    found = best(LOSS, 0.1, 0.5, 0.3, states=states)
    assert found is not None
    assert (found.run_id.int, found.is_final) == (2, False)
    assert best(LOSS, 0.1, None) is None


def test_equal_runs_are_told_and_the_loss_decides() -> None:
    found = best(ACCURACY, 1.0, 1.0, 0.5, losses=[0.4, 0.2, 0.1])
    assert found is not None
    assert found.run_id.int == 1
    assert found.why == (
        "Highest “Exact answers” at its best step: 100 %, at step 10. "
        "1 other run reached the same. Of these it has the lowest “Validation loss”."
    )


def test_runs_are_judged_by_what_was_measured() -> None:
    latest = {UUID(int=0): {"eval/loss": LatestValue(1, 1, 1, 1, 1)}}
    metrics = judged(LORA, latest)
    assert [each.key for each in metrics] == ["eval/loss"]
    assert chosen(LORA, metrics, "").key == "eval/loss"
    assert chosen(LORA, [ACCURACY, LOSS], "").key == LORA.headline
    assert chosen(LORA, [], "nothing").key == LORA.headline


def results(values: list[tuple[Any, float | None]]) -> list[Result]:
    return [
        Result(UUID(int=at), str(place), (place,), value, str(value), RunState.SUCCEEDED, False)
        for at, (place, value) in enumerate(values)
    ]


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12))
def test_points_keep_the_order_of_both_axes(values: list[tuple[float, float]]) -> None:
    picture = points_along("x", results(list(values)), 0)
    assert picture is not None
    for one in picture.points:
        assert 0 <= one.x <= 100
        assert 0 <= one.y <= 100
        for other in picture.points:
            if one.result.at[0] < other.result.at[0]:
                assert one.x <= other.x
            if (one.result.value or 0) < (other.result.value or 0):
                assert one.y >= other.y


def test_names_stand_in_their_order_and_are_not_joined() -> None:
    picture = points_along("variant", results([("lora", 1.0), ("dora", 2.0)]), 0)
    assert picture is not None
    assert [text for _place, text in picture.ticks] == ["lora", "dora"]
    assert picture.lines == []
    assert points_along("variant", results([("lora", 1.0), ("dora", None)]), 0) is None


def test_wide_numbers_are_drawn_by_their_logarithms() -> None:
    picture = points_along("rate", results([(1e-4, 1.0), (1e-3, 2.0), (1e-2, 3.0)]), 0)
    assert picture is not None
    assert picture.is_log
    first, middle, last = (point.x for point in picture.points)
    assert middle == pytest.approx((first + last) / 2, abs=0.1)


def test_the_better_a_cell_the_stronger_its_colour() -> None:
    grid = [
        Result(UUID(int=at), "", (row, column), value, "", RunState.SUCCEEDED, False)
        for at, (row, column, value) in enumerate(
            [(1, "a", 0.1), (1, "b", 0.2), (2, "a", 0.3), (2, "b", None)]
        )
    ]
    lower, higher = (map_over(["r", "c"], grid, way) for way in (False, True))
    assert lower is not None
    assert higher is not None
    assert [cell.level for _row, cells in lower.rows for cell in cells] == [LEVELS, 5, 0, None]
    assert [cell.level for _row, cells in higher.rows for cell in cells] == [0, 5, LEVELS, None]
    diagonal = [
        Result(UUID(int=at), "", (at, at), 1.0, "", RunState.SUCCEEDED, False) for at in range(4)
    ]
    assert map_over(["r", "c"], diagonal, True) is None


def test_values_are_ordered_as_people_expect() -> None:
    assert ordered([8, 2, 8, 4]) == [2, 4, 8]
    assert ordered([True, False, True]) == [True, False]
    assert ordered([["q"], ["k", "v"], ["q"]]) == [["q"], ["k", "v"]]
