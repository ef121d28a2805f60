"""What a person asks of a sweep, and how it is kept with its group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.runs.submit import Submission

Json = dict[str, Any]
Scale = Literal["linear", "log"]
Method = Literal["grid", "random"]


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `low` to `high`: `count` of them at equal distances or equal ratios."""

    low: float
    high: float
    count: int
    scale: Scale = "linear"


@dataclass(frozen=True, slots=True)
class Vary:
    """A parameter, and the values it takes: a list as it was written, or a span."""

    parameter: str
    values: Sequence[Any] = ()
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A sweep before it is planned.

    Attributes:
        base: What all its runs share; its `name` is the sweep's.
        runs: How many to draw, of a random sweep.
        draw_seed: Decides what is drawn; the runs themselves all have the seed of `base`.
    """

    base: Submission
    vary: Sequence[Vary]
    method: Method = "grid"
    runs: int | None = None
    draw_seed: int = 0


def spec_of(asked: Asked, values: Sequence[Sequence[Any]]) -> Json:
    """What was asked for, with the values of each run, as JSON; two equal ones are one sweep."""
    base = asked.base
    varied = {each.parameter for each in asked.vary}
    return {
        # Of what varies nobody looked at any other value.
        "params": {name: value for name, value in base.params.items() if name not in varied},
        "stages": list(base.stages) if base.stages is not None else None,
        "base_model": base.base_model,
        "dataset": base.dataset,
        "seed": base.seed,
        "parent_run": str(base.parent_run) if base.parent_run else None,
        "name": base.name,
        "reuse": base.reuse,
        "vary": [_vary(each) for each in asked.vary],
        "method": asked.method,
        "runs": asked.runs if asked.method == "random" else None,
        "draw_seed": asked.draw_seed if asked.method == "random" else None,
        "values": [list(each) for each in values],
    }


def _vary(vary: Vary) -> Json:
    given: Json = {"parameter": vary.parameter}
    if vary.span is None:
        return {**given, "values": list(vary.values)}
    span = vary.span
    ends = {"from": span.low, "to": span.high}
    return {**given, **ends, "count": span.count, "scale": span.scale}
