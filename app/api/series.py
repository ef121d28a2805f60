"""Metric series as JSON: arrays where every number is finite, strings for the others."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.metrics.store import MetricFrame

NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def dumps(value: Any) -> bytes:
    """JSON with numpy arrays; the caller has named what is not a finite number."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def number(value: float | None) -> float | str | None:
    """A number as JSON can say it: not-a-number and infinities by name."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else NAMES[value]


def numbers(values: NDArray[np.float64]) -> Any:
    """The same for an array; JSON has no word for what is not finite."""
    if np.isfinite(values).all():
        return np.ascontiguousarray(values)
    return [number(value) for value in values.tolist()]


def frame_json(frame: MetricFrame, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Every point of a frame, by key: {"train/loss": {"steps": [...], "values": [...]}}."""
    found = {}
    for key in frame.columns if keys is None else keys:
        steps, values = frame.series(key)
        if len(steps):
            found[key] = {"steps": np.ascontiguousarray(steps), "values": numbers(values)}
    return found
