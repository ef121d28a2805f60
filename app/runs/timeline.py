"""The attempts of a run: on which device, from step to step, and how each ended, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.i18n import N_, gettext, told
from app.models import Attempt, Run
from app.runs.causes import CAUSES
from labs.contract import Cause

OUTCOMES = {
    "succeeded": N_("Succeeded"),
    "failed": N_("Failed"),
    "cancelled": N_("Cancelled"),
    "requeued": N_("Went back to the queue"),
    "released": N_("Released by an instructor"),
    "held": N_("Held"),
}


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One try. `first` and `last` are steps; unknown where nothing was logged.

    A later try without a step of its own went on after the training, or began anew.
    """

    number: int
    device: str
    started_at: datetime | None
    finished_at: datetime | None
    first: int | None
    last: int | None
    tone: str
    ended: str
    detail: str
    peak: int | None


def timeline(run: Run, attempts: Sequence[Attempt], reached: int | None) -> list[AttemptLine]:
    """All attempts, first to last. An attempt ends where the next one resumed, or later.

    `reached` is the last step that the run has logged.
    """
    ends = [following.resumed_from_step for following in attempts[1:]] + [reached]
    return [_line(run, attempt, last) for attempt, last in zip(attempts, ends, strict=False)]


def _line(run: Run, attempt: Attempt, last: int | None) -> AttemptLine:
    return AttemptLine(
        number=attempt.number,
        device=attempt.device,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        first=_first_step(attempt),
        last=last if attempt.started_at else None,
        tone=_tone(attempt),
        ended=_ended(run, attempt),
        detail=told(attempt.reason),
        peak=attempt.peak_memory_bytes,
    )


def _first_step(attempt: Attempt) -> int | None:
    if attempt.started_at and attempt.number == 1:
        return 0
    return attempt.resumed_from_step


def _ended(run: Run, attempt: Attempt) -> str:
    if attempt.cause in set(Cause):
        return gettext(CAUSES[Cause(attempt.cause)].title)
    if attempt.outcome is None:
        return gettext("Goes on") if run.state.is_live else "–"
    return gettext(OUTCOMES.get(attempt.outcome, attempt.outcome))


def _tone(attempt: Attempt) -> str:
    tones = {"succeeded": "positive", "failed": "negative", None: "live"}
    return tones.get(attempt.outcome, "warning")
