"""Whether a training that succeeded left the model worse than it was: both figures, what to try."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.api.series import number
from app.i18n import N_, gettext, sentence
from app.metrics.store import MetricFrame
from app.models import Artifact, Run, RunState, User
from app.runs.causes import Step
from app.runs.ending import next_json
from app.runs.labs_of import lab_of
from app.runs.measure import measured
from app.runs.next_steps import Case, Next, next_steps
from labs.contract import Lab, Metric

Json = dict[str, Any]
# What was not learned from. Step 0 of a series is the untouched model (labs/contract.py).
HELD_OUT = "eval/"
TITLE = N_("Worse than the untouched model")
NEVER_BETTER = N_(
    "No evaluation was better than the one before training. The learning rate is probably too high: try a lower one."
)
BETTER_BETWEEN = N_(
    "It was better in between and got worse again. Fewer steps or a lower learning rate may help."
)
KEPT_NOTHING = N_("The weights that were kept are those of step 0: nothing was learned in them.")
KEPT = N_("The weights that were kept are those of step {step}.")


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
        return self._gain(self.final)

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
        """How much better than the untouched model; 0 where no reader could see a difference."""
        if self._shown(value) == self._shown(self.untouched):
            return 0.0
        gain = value - self.untouched
        gain = gain if self.metric.direction == "higher" else -gain
        return -math.inf if math.isnan(gain) else gain

    def _shown(self, value: float) -> str:
        return measured(value, self.metric.unit)


@dataclass(frozen=True, slots=True)
class Worse:
    """What the page says of such a run. Rendered by runs/show/_worse.html."""

    changes: Sequence[Change]
    kept_step: int | None
    next: Sequence[Next]

    def advice(self) -> str:
        better = any(change.was_better for change in self.changes)
        return gettext(BETTER_BETWEEN if better else NEVER_BETTER)

    def kept(self) -> str:
        if self.kept_step is None:
            return ""
        return sentence(KEPT if self.kept_step else KEPT_NOTHING, {"step": self.kept_step})

    def as_json(self) -> Json:
        return {
            "title": gettext(TITLE),
            "advice": self.advice(),
            "kept_step": self.kept_step,
            "metrics": [_change_json(change) for change in self.changes],
            "next": [next_json(each) for each in self.next],
        }


def worse_of(
    session: Session, actor: User, run: Run, artifacts: Sequence[Artifact], frame: MetricFrame
) -> Worse | None:
    """What to say of a training that succeeded and made the model worse; usually nothing."""
    changes = worsened(run, lab_of(run), frame)
    if not changes:
        return None
    return Worse(
        changes=changes,
        kept_step=artifacts[-1].step if artifacts else None,
        next=next_steps(Case(session, actor, run), (Step.CALMER, Step.CHANGE)),
    )


def worsened(run: Run, lab: Lab, frame: MetricFrame) -> list[Change]:
    """The held-out metrics that ended worse than they began, where none ended better.

    A compression is meant to cost a little; nothing is said of it, nor where no baseline was
    measured.
    """
    if run.state is not RunState.SUCCEEDED or lab.chapter != "training":
        return []
    changes = list(_changes(lab, frame))
    if any(change.gain > 0 for change in changes):
        return []
    return [change for change in changes if change.gain < 0]


def held_out(lab: Lab) -> list[str]:
    """The keys that `worsened` reads."""
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


def _best(metric: Metric, values: Sequence[float]) -> int:
    """Where the best value is; not-a-number is never better."""
    sign = 1 if metric.direction == "higher" else -1
    ranked = [-math.inf if math.isnan(value) else sign * value for value in values]
    return max(range(len(ranked)), key=ranked.__getitem__)


def _change_json(change: Change) -> Json:
    return {
        "key": change.metric.key,
        "title": gettext(change.metric.title),
        "unit": change.metric.unit,
        "direction": change.metric.direction,
        "untouched": number(change.untouched),
        "final": number(change.final),
        "step": change.step,
        "best": number(change.best),
        "best_step": change.best_step,
        "text": change.words(),
    }
