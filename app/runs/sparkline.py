"""A curve as small as a word, as the points of an SVG polyline."""

import numpy as np

from app.metrics.chunk import Floats, Ints
from app.metrics.downsample import min_max

WIDTH = 96
HEIGHT = 24
POINTS = 60


def sparkline(steps: Ints, values: Floats) -> str:
    """`points` of a polyline in a box of 96 × 24; empty for fewer than two finite values."""
    finite = np.isfinite(values)
    steps, values = min_max(steps[finite], values[finite], POINTS)
    if len(values) < 2 or steps[0] == steps[-1]:
        return ""
    across = (steps - steps[0]) / (steps[-1] - steps[0]) * WIDTH
    spread = values.max() - values.min()
    share = (values - values.min()) / spread if spread > 0 else np.full(len(values), 0.5)
    down = (1 - share) * (HEIGHT - 2) + 1
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
