"""A training beside the untouched model that it began with: worse, no better, or nothing to say."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from app.i18n import N_, gettext, sentence
from app.metrics.store import MetricFrame
from app.models import Run, RunState
from app.runs.causes import Step
from app.runs.measure import measured
from labs.contract import Lab, Metric

# What was not learned from. Step 0 of a series is the untouched model (labs/contract.py).
HELD_OUT = "eval/"
TRAINED_ON = "train/loss"
# So many times the loss of the first step is no noise of batches.
JUMP = 2.0


class Verdict(StrEnum):
    """How a training stands beside the model that it began with."""

    WORSE = "worse"
    NO_BETTER = "no_better"


WORSE = N_("Worse than the untouched model")
NO_BETTER = N_("{title}: no better than the untouched model")
JUMPED = N_(
    "The training loss jumped to {peak} at step {step}; it began at {first}. The learning rate is probably too high: try a lower one."
)
NEVER_BETTER = N_(
    "No evaluation was better than the one before training. The learning rate is probably too high: try a lower one."
)
BETTER_BETWEEN = N_(
    "It was better in between and got worse again. Fewer steps or a lower learning rate may help."
)
LOOK = N_(
    "Look at the loss: while it still falls, more steps may help; where it jumps, a lower learning rate."
)


@dataclass(frozen=True, slots=True)
class Change:
    """A held-out metric: of the untouched model, at the last evaluation, and at its best."""

    metric: Metric
    untouched: float
    final: float
    step: int
    best: float
    best_step: int

    @property
    def gain(self) -> float:
        """How much better than the untouched model; 0 where no reader could see a difference."""
        return self._gain(self.final)

    @property
    def is_perfect(self) -> bool:
        """Whether nothing could be better."""
        return self.metric.unit == "fraction" and self.final == 1

    @property
    def was_better(self) -> bool:
        """Whether any evaluation was better than the untouched model."""
        return self._gain(self.best) > 0

    def words(self) -> str:
        told = N_("{title}: {final} at step {step}; {untouched} before training.")
        return sentence(
            told,
            {
                "title": gettext(self.metric.title),
                "final": self._shown(self.final),
                "step": self.step,
                "untouched": self._shown(self.untouched),
            },
        )

    def _gain(self, value: float) -> float:
        if self._shown(value) == self._shown(self.untouched):
            return 0.0
        gain = value - self.untouched
        gain = gain if self.metric.direction == "higher" else -gain
        return -math.inf if math.isnan(gain) else gain

    def _shown(self, value: float) -> str:
        return measured(value, self.metric.unit)


@dataclass(frozen=True, slots=True)
class Jump:
    """The highest training loss, where it is far above the first."""

    first: float
    peak: float
    step: int

    def words(self) -> str:
        told = {name: measured(getattr(self, name), "") for name in ("first", "peak")}
        return sentence(JUMPED, {**told, "step": self.step})


@dataclass(frozen=True, slots=True)
class Beside:
    """What the measurements of a run say of it beside the untouched model; what matters first."""

    verdict: Verdict
    changes: Sequence[Change]
    jump: Jump | None

    @property
    def title(self) -> str:
        if self.verdict is Verdict.WORSE:
            return gettext(WORSE)
        return sentence(NO_BETTER, {"title": gettext(self.changes[0].metric.title)})

    def advice(self) -> str:
        if self.jump is not None:
            return self.jump.words()
        if self.verdict is Verdict.NO_BETTER:
            return gettext(LOOK)
        better = any(change.was_better for change in self.changes)
        return gettext(BETTER_BETWEEN if better else NEVER_BETTER)

    @property
    def steps(self) -> Sequence[Step]:
        calmer = self.jump is not None or self.verdict is Verdict.WORSE
        return (Step.CALMER, Step.CHANGE) if calmer else (Step.CHANGE,)


def beside_untouched(run: Run, lab: Lab, frame: MetricFrame) -> Beside | None:
    """Worse, where held-out metrics ended worse than they began and none better; no better, where
    the lab's headline did not gain.

    A compression is meant to cost a little; nothing is said of it, nor where no baseline was
    measured.
    """
    if run.state is not RunState.SUCCEEDED or lab.chapter != "training":
        return None
    changes = list(_changes(lab, frame))
    gains = [change.gain for change in changes]
    headline = next((each for each in changes if each.metric.key == lab.headline), None)
    if gains and min(gains) < 0 and max(gains) <= 0:
        lost = [change for change in changes if change.gain < 0]
        return Beside(Verdict.WORSE, lost, _jump(frame))
    if headline and headline.gain <= 0 and not headline.is_perfect:
        others = [change for change in changes if change is not headline]
        return Beside(Verdict.NO_BETTER, [headline, *others], _jump(frame))
    return None


def keys_read(lab: Lab) -> list[str]:
    """The metrics that `beside_untouched` reads."""
    return [*held_out(lab), TRAINED_ON]


def held_out(lab: Lab) -> list[str]:
    """The metrics of rows that were not learned from, where one value is better than another."""
    return [
        metric.key
        for metric in lab.metrics
        if metric.key.startswith(HELD_OUT) and metric.direction != "none"
    ]


def _changes(lab: Lab, frame: MetricFrame) -> Iterator[Change]:
    for metric in map(lab.metric, held_out(lab)):
        steps, values = frame.series(metric.key)
        if len(steps) < 2 or steps[0] != 0 or not math.isfinite(values[0]):
            continue
        at = _best(metric, values[1:].tolist()) + 1
        yield Change(
            metric=metric,
            untouched=float(values[0]),
            final=float(values[-1]),
            step=int(steps[-1]),
            best=float(values[at]),
            best_step=int(steps[at]),
        )


def _jump(frame: MetricFrame) -> Jump | None:
    steps, values = frame.series(TRAINED_ON)
    if not len(values) or not np.isfinite(values).any():
        return None
    at = int(np.nanargmax(np.where(np.isinf(values), np.nan, values)))
    first, peak = float(values[0]), float(values[at])
    return Jump(first, peak, int(steps[at])) if peak > JUMP * first else None


def _best(metric: Metric, values: Sequence[float]) -> int:
    """Where the best value is; not-a-number is never better."""
    sign = 1 if metric.direction == "higher" else -1
    ranked = [-math.inf if math.isnan(value) else sign * value for value in values]
    return max(range(len(ranked)), key=ranked.__getitem__)
