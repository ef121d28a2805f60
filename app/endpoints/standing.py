"""How the endpoint of a serving run stands, in one word and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.endpoints.address import Front, front_of
from app.endpoints.keys import Admitted
from app.endpoints.refusals import UNREACHABLE, NotOpen, NotYet, Unreachable
from app.errors import NotFound
from app.i18n import N_
from app.models import Run, RunEvent, RunState, User
from app.runs import queries

SERVE = "serve"
# The stage in which its endpoint is open.
OPEN_STAGE = "report"
LONGEST_SECONDS = 7 * 24 * 3600


class Stand(StrEnum):
    """What can be had of an endpoint now."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    TESTING = "testing"
    OPEN = "open"
    CLOSED = "closed"


SOON = frozenset({Stand.STARTING, Stand.TESTING})
TITLES: Mapping[Stand, str] = {
    Stand.WAITING: N_("waiting"),
    Stand.PREPARING: N_("being prepared"),
    Stand.STARTING: N_("being loaded"),
    Stand.TESTING: N_("load test"),
    Stand.OPEN: N_("open"),
    Stand.CLOSED: N_("closed"),
}
SENTENCES: Mapping[Stand, str] = {
    Stand.WAITING: N_("The run waits in the queue; its endpoint opens when it runs."),
    Stand.PREPARING: N_("The model is being prepared; its endpoint opens when that is done."),
    Stand.STARTING: N_("The model is being loaded; its endpoint opens in a moment."),
    Stand.TESTING: N_("The load test is going on; the endpoint opens when it is over."),
    Stand.OPEN: N_("The endpoint is open and answers requests."),
    Stand.CLOSED: N_("The endpoint is closed."),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of an endpoint, what the trainer said with it, and when it means to close."""

    state: Stand
    engine: str = ""
    model: str = ""
    closes_at: datetime | None = None

    @property
    def title(self) -> str:
        """The state in a word, in English, to be looked up."""
        return TITLES[self.state]

    @property
    def sentence(self) -> str:
        """In English, to be looked up."""
        return SENTENCES[self.state]


def serving_run(session: Session, actor: User, run_id: UUID) -> Run:
    """A run that serves a model; `NotFound` for others and for what is none of the actor's."""
    run = queries.get_run(session, actor, run_id)
    if run.lab != SERVE:
        raise NotFound(N_("This run serves no model."))
    return run


def standing_of(session: Session, run: Run | Admitted) -> Standing:
    """How the endpoint of a serving run stands."""
    said = _last_said(session, run.id, run.attempt)
    told: Mapping[str, Any] = said.payload if said else {}
    state = _state(run.state, told)
    return Standing(
        state=state,
        engine=str(told.get("engine") or "")[:80],
        model=str(told.get("model") or "")[:200],
        closes_at=_closing(said) if said and state is Stand.OPEN else None,
    )


def front_to(session: Session, run: Run | Admitted) -> Front:
    """The server of a run that goes on.

    Raises:
        Unreachable: When it said it was open, and cannot be found.
        NotYet: While it is being loaded or tested.
        NotOpen: While the run waits or prepares its model, and when it is over.
    """
    front = front_of(run.id, run.attempt) if run.state is RunState.RUNNING else None
    if front is not None:
        return front
    standing = standing_of(session, run)
    if standing.state is Stand.OPEN:
        raise Unreachable(UNREACHABLE)
    if standing.state in SOON:
        raise NotYet(standing.sentence)
    raise NotOpen(standing.sentence)


def _last_said(session: Session, run_id: UUID, attempt: int) -> RunEvent | None:
    return session.scalars(
        select(RunEvent)
        .where(RunEvent.run_id == run_id, RunEvent.attempt == attempt, RunEvent.kind == "endpoint")
        .order_by(RunEvent.seq.desc())
        .limit(1)
    ).first()


def _state(run: RunState, told: Mapping[str, Any]) -> Stand:
    if run.is_over:
        return Stand.CLOSED
    if run is not RunState.RUNNING:
        return Stand.WAITING
    said = told.get("state")
    return Stand(said) if said in list(Stand) else Stand.PREPARING


def _closing(said: RunEvent) -> datetime | None:
    seconds = said.payload.get("closes_in_seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        return None
    return said.at + timedelta(seconds=seconds)
