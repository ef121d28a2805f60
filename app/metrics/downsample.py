"""Fewer points for a chart, such that no spike, edge or not-a-number is lost."""

import numpy as np

from app.metrics.chunk import Floats, Ints


def min_max(steps: Ints, values: Floats, points: int) -> tuple[Ints, Floats]:
    """About `points` of these points, in order, unchanged.

    Of each of `points // 4` equal buckets the first, last, smallest and largest finite
    values stay (M4, Jugel et al. 2014), and the first and last of each kind of non-finite
    value, so the result may be a little longer where those occur.
    """
    if len(values) <= max(points, 4):
        return steps, values
    size = -(-len(values) // max(1, points // 4))
    starts = np.arange(0, len(values), size)
    chosen = [starts, np.append(starts[1:], len(values)) - 1]
    finite = np.isfinite(values)
    low = high = values
    if not finite.all():
        low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        for special in (np.isnan(values), values == np.inf, values == -np.inf):
            chosen += _outermost(np.flatnonzero(special), size)
    chosen.append(starts + _buckets(low, size).argmin(axis=1))
    chosen.append(starts + _buckets(high, size).argmax(axis=1))
    kept = np.unique(np.concatenate(chosen))
    return steps[kept], values[kept]


def _buckets(values: Floats, size: int) -> Floats:
    """One line a bucket; repeats of the last value, never its first, fill the last one up."""
    missing = -len(values) % size
    filled = np.concatenate([values, np.repeat(values[-1:], missing)]) if missing else values
    return filled.reshape(-1, size)


def _outermost(positions: Ints, size: int) -> tuple[Ints, Ints]:
    """The first and the last of these positions in each bucket."""
    first = np.unique(positions // size, return_index=True)[1]
    last = len(positions) - 1 - np.unique(positions[::-1] // size, return_index=True)[1]
    return positions[first], positions[last]
