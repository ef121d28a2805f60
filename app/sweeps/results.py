"""What came of a sweep: each run's value of one metric, and which run is best by it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from app.i18n import N_, gettext, ngettext, number, sentence
from app.metrics.store import LatestValue, MetricFrame
from app.models import Run, RunState
from app.runs.measure import measured
from labs.contract import Lab, Metric

# What is measured again and again; of everything else the last value counts.
CURVES = ("eval/", "train/")
# Decides between runs that are equal.
TIE_BREAKER = "eval/loss"
NO_RESULT = frozenset({RunState.FAILED, RunState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One metric of one run: its last value, and its best with the step where that was."""

    final: float | None = None
    best: float | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Best:
    """The best run and why it is. `is_final` once nothing can change it any more."""

    run_id: UUID
    why: str
    is_final: bool


def judged(lab: Lab, values: Mapping[UUID, Mapping[str, LatestValue]]) -> list[Metric]:
    """The metrics that runs can be judged by, in the lab's order: declared, better one way."""
    logged = {key for found in values.values() for key in found}
    return [each for each in lab.metrics if each.direction != "none" and each.key in logged]


def chosen(lab: Lab, metrics: Sequence[Metric], key: str) -> Metric:
    """The metric that is asked for, else the lab's headline, else the first there is."""
    by_key = {each.key: each for each in metrics}
    first = metrics[0] if metrics else lab.metric(lab.headline)
    return by_key.get(key) or by_key.get(lab.headline) or first


def outcome_of(metric: Metric, frame: MetricFrame) -> Outcome:
    if metric.key not in frame.columns:
        return Outcome()
    steps, values = frame.series(metric.key)
    if not len(values):
        return Outcome()
    last = float(values[-1])
    if not metric.key.startswith(CURVES):
        return Outcome(last, last if math.isfinite(last) else None)
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return Outcome(last)
    known = values[finite]
    at = finite[known.argmax() if metric.direction == "higher" else known.argmin()]
    return Outcome(last, float(values[at]), int(steps[at]))


def best_of(
    lab: Lab,
    metric: Metric,
    runs: Sequence[Run],
    outcomes: Mapping[UUID, Outcome],
    values: Mapping[UUID, Mapping[str, LatestValue]],
) -> Best | None:
    """The best run by this metric; None before two of them have a value."""
    known = {
        run.id: value
        for run in runs
        if run.state not in NO_RESULT and (value := outcomes[run.id].best) is not None
    }
    if len(known) < 2 or metric.direction == "none":
        return None
    target = max(known.values()) if metric.direction == "higher" else min(known.values())
    equal = [run_id for run_id, value in known.items() if value == target]
    losses = {each: _lowest(values[each].get(TIE_BREAKER)) for each in equal}
    winner = min(equal, key=lambda each: losses[each])
    decided = losses[winner] < min((losses[e] for e in equal if e != winner), default=math.inf)
    why = [_why(metric, outcomes[winner])]
    if len(equal) > 1:
        why.append(_tie(lab, len(equal) - 1, decided and metric.key != TIE_BREAKER))
    return Best(winner, " ".join(why), all(run.state.is_over for run in runs))


def _lowest(value: LatestValue | None) -> float:
    return value.minimum if value is not None and value.minimum is not None else math.inf


def _why(metric: Metric, outcome: Outcome) -> str:
    told = {
        ("lower", True): N_("Lowest “{metric}” at its best step: {value}, at step {step}."),
        ("higher", True): N_("Highest “{metric}” at its best step: {value}, at step {step}."),
        ("lower", False): N_("Lowest “{metric}”: {value}."),
        ("higher", False): N_("Highest “{metric}”: {value}."),
    }[metric.direction, outcome.step is not None]
    values = {
        "metric": gettext(metric.title),
        "value": measured(outcome.best, metric.unit),
        "step": number(outcome.step or 0),
    }
    return sentence(told, values)


def _tie(lab: Lab, others: int, decided: bool) -> str:
    count = ngettext(
        "%(num)s other run reached the same.", "%(num)s other runs reached the same.", others
    ) % {"num": number(others)}
    if not decided:
        return count
    loss = gettext(lab.metric(TIE_BREAKER).title)
    told = sentence(N_("Of these it has the lowest “{metric}”."), {"metric": loss})
    return f"{count} {told}"
