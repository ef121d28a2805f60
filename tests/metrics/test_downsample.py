"""A chart with few points still shows every spike."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.metrics.chunk import Floats
from app.metrics.downsample import min_max

series = arrays.arrays(np.float64, st.integers(0, 400), elements=st.floats(width=64))


@given(series, st.integers(4, 100))
def test_extremes_edges_and_kinds_survive(values: Floats, points: int) -> None:
    steps = np.arange(len(values), dtype=np.int64)
    kept_steps, kept = min_max(steps, values, points)
    assert np.array_equal(values[kept_steps], kept, equal_nan=True)
    assert (np.diff(kept_steps) > 0).all()
    if not len(values):
        return
    assert {0, len(values) - 1} <= set(kept_steps.tolist())
    finite = values[np.isfinite(values)]
    if finite.size:
        assert {finite.min(), finite.max()} <= set(kept.tolist())
    for kind in (np.isnan, np.isposinf, np.isneginf):
        assert kind(kept).any() == kind(values).any()


def test_a_hundred_thousand_points_become_a_thousand() -> None:
    values = np.sin(np.arange(100_000) / 50)
    values[54_321] = 9.0
    steps, kept = min_max(np.arange(100_000, dtype=np.int64), values, 1000)
    assert 500 <= len(kept) <= 1000
    assert steps[kept == 9.0].tolist() == [54_321]


def test_few_points_are_left_alone() -> None:
    steps, values = np.arange(3, dtype=np.int64), np.array([1.0, np.nan, 2.0])
    assert min_max(steps, values, 4)[0] is steps
