"""How a run ended: its cause in words, what was kept, whether it is retried, what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.i18n import N_, gettext, sentence, told
from app.metrics.store import LatestValue
from app.models import Artifact, Attempt, Run, RunState, User
from app.runs.attempts import BLAMELESS, failed_alike
from app.runs.causes import CAUSES, NEVER_STARTED, Explanation
from app.runs.kept import Kept, kept_of
from app.runs.lifecycle import SAME_CAUSE_LIMIT
from app.runs.next_steps import Case, Next, next_steps
from labs.contract import Cause

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Retry:
    """Whether the run goes on by itself; `alike` attempts in a row ended so, of at most `limit`."""

    by_itself: bool
    attempt: int
    alike: int
    limit: int | None

    def words(self) -> str:
        if not self.by_itself:
            return gettext("It is not tried again by itself.")
        if self.limit is None:
            message = N_("It goes on by itself. This does not count against it.")
        else:
            message = N_(
                "It is tried again by itself: {alike} of at most {limit} attempts ended so."
            )
        return sentence(message, {"alike": self.alike, "limit": self.limit})

    def as_json(self) -> Json:
        return {
            "by_itself": self.by_itself,
            "attempt": self.attempt,
            "alike": self.alike,
            "limit": self.limit,
            "text": self.words(),
        }


@dataclass(frozen=True, slots=True)
class Ending:
    """What is told of a run that ended early, or was interrupted and waits again."""

    cause: Cause
    explanation: Explanation
    underlying: Explanation | None
    kept: Kept
    retry: Retry
    next: Sequence[Next]

    @property
    def is_interruption(self) -> bool:
        """Whether the run goes on by itself, so that nobody has to do anything."""
        return self.retry.by_itself

    def as_json(self) -> Json:
        return {
            "cause": self.cause.value,
            "title": gettext(self.explanation.title),
            "advice": gettext(self.explanation.advice),
            "underlying": gettext(self.underlying.title) if self.underlying else None,
            "retried": self.explanation.retried,
            "retry": self.retry.as_json(),
            "kept": self.kept.as_json(),
            "next": [next_json(each) for each in self.next],
        }


def next_json(step: Next) -> Json:
    """A next step for a program: what is posted goes to the API's own address."""
    return {
        "step": step.step.value,
        "title": sentence(step.title, step.values),
        "method": step.method.upper(),
        "href": f"/api/v1{step.href}" if step.method == "post" else step.href,
        "body": step.fields,
        "changes": step.changes,
        "estimate": _estimate_json(step.estimate),
    }


def ending_of(
    session: Session,
    actor: User,
    run: Run,
    attempts: Sequence[Attempt],
    artifacts: Sequence[Artifact],
    values: Mapping[str, LatestValue],
) -> Ending | None:
    """The ending of a run that has a cause and does not run now."""
    if run.state is RunState.RUNNING or run.cause not in set(Cause):
        return None
    cause = Cause(run.cause)
    never_started = cause is Cause.CANCELLED and not attempts
    explanation = NEVER_STARTED if never_started else CAUSES[cause]
    return Ending(
        cause=cause,
        explanation=explanation,
        underlying=_underlying(cause, attempts),
        kept=kept_of(run.id, values, artifacts),
        retry=_retry(session, run, cause, explanation),
        next=next_steps(Case(session, actor, run), explanation.steps),
    )


def cause_title(run: Run) -> str:
    """Why a run ended early, or waits for a person, in one sentence; empty for any other."""
    if run.cause not in set(Cause) or not (run.state.is_over or run.state is RunState.HELD):
        return ""
    cause = Cause(run.cause)
    never_started = cause is Cause.CANCELLED and not run.attempt
    return gettext((NEVER_STARTED if never_started else CAUSES[cause]).title)


def _underlying(cause: Cause, attempts: Sequence[Attempt]) -> Explanation | None:
    """What a held run failed of each time."""
    last = attempts[-1].cause if attempts else None
    if cause is not Cause.REPEATED_FAILURE or last not in set(Cause):
        return None
    return CAUSES[Cause(last)]


def _retry(session: Session, run: Run, cause: Cause, explanation: Explanation) -> Retry:
    over = run.state.is_over or cause is Cause.REPEATED_FAILURE
    uncounted = cause in BLAMELESS or run.state is RunState.HELD
    return Retry(
        by_itself=explanation.retried and not over,
        attempt=run.attempt,
        alike=failed_alike(session, run.id, cause),
        limit=None if uncounted else SAME_CAUSE_LIMIT,
    )


def _estimate_json(estimate: Json | None) -> Json | None:
    if estimate is None:
        return None
    devices = [{**each, "reason": told(each["reason"])} for each in estimate["devices"]]
    kept = ("memory_bytes", "predicted_bytes", "corrected_bytes", "parts", "seconds")
    return {**{name: estimate[name] for name in kept}, "devices": devices}
