"""What a run's page says where training left the model no better: figures, what was kept, buttons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.api.series import number
from app.i18n import N_, gettext, sentence
from app.metrics.store import MetricFrame
from app.models import Artifact, Run, User
from app.runs.beside import Beside, Change, beside_untouched
from app.runs.ending import next_json
from app.runs.labs_of import lab_of
from app.runs.next_steps import Case, Next, next_steps

Json = dict[str, Any]
KEPT_NOTHING = N_("The weights that were kept are those of step 0: nothing was learned in them.")
KEPT = N_("The weights that were kept are those of step {step}.")


@dataclass(frozen=True, slots=True)
class Untouched:
    """What the page says of such a run. Rendered by runs/show/_untouched.html."""

    beside: Beside
    kept_step: int | None
    next: Sequence[Next]

    def kept(self) -> str:
        if self.kept_step is None:
            return ""
        return sentence(KEPT if self.kept_step else KEPT_NOTHING, {"step": self.kept_step})

    def as_json(self) -> Json:
        return {
            "verdict": self.beside.verdict.value,
            "title": self.beside.title,
            "advice": self.beside.advice(),
            "kept_step": self.kept_step,
            "metrics": [_change_json(change) for change in self.beside.changes],
            "next": [next_json(each) for each in self.next],
        }


def untouched_of(
    session: Session, actor: User, run: Run, artifacts: Sequence[Artifact], frame: MetricFrame
) -> Untouched | None:
    """What to say of a training that succeeded and helped nothing; usually nothing."""
    beside = beside_untouched(run, lab_of(run), frame)
    if beside is None:
        return None
    kept_step = artifacts[-1].step if artifacts else None
    return Untouched(beside, kept_step, next_steps(Case(session, actor, run), beside.steps))


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
