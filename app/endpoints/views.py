"""The card of a served model on its run's page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy.orm import Session
from starlette.requests import Request

from app import clock
from app.access import Action, can
from app.accounts.views import told_errors
from app.endpoints import keys
from app.endpoints.address import front_of
from app.endpoints.control import EXTENSION_MINUTES, Figures, figures_of
from app.endpoints.refusals import PREFIX
from app.endpoints.standing import SERVE, Stand, Standing, standing_of
from app.errors import AppError
from app.html import site_of
from app.models import EndpointKey, Run, User
from app.queue.spans import Span


@dataclass(frozen=True, slots=True)
class EndpointCard:
    """A served model: how it stands, its address, its keys. Rendered by runs/show/_endpoint.html."""

    standing: Standing
    figures: Figures | None
    now: datetime
    path: str
    keys: Sequence[EndpointKey]
    may_steer: bool
    minutes: int = EXTENSION_MINUTES
    new_key: str = ""
    key_name: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return self.standing.state is Stand.CLOSED

    @property
    def is_open(self) -> bool:
        return self.standing.state is Stand.OPEN

    @property
    def closes_at(self) -> datetime | None:
        """When it closes if nobody asks anything more."""
        return self.figures.closes_at if self.figures and self.is_open else self.standing.closes_at

    @property
    def closing(self) -> Span | None:
        """The same as the page's countdown takes it."""
        return Span(self.closes_at, self.closes_at) if self.closes_at else None


@dataclass(frozen=True, slots=True)
class EndpointPage:
    """The card on a page of its own. Rendered by endpoints/show.html, its parts also alone."""

    run: Run
    endpoint: EndpointCard


def card_of(session: Session, actor: User, run: Run) -> EndpointCard | None:
    """The card of a run that serves a model, as far as the database knows; None for others."""
    if run.lab != SERVE:
        return None
    return EndpointCard(
        standing=standing_of(session, run),
        figures=None,
        now=clock.now(),
        path=path_of(run),
        keys=keys.of_run(session, actor, run),
        may_steer=can(actor, Action.STEER_ENDPOINT, run.owner_id),
    )


def with_figures(run: Run, card: EndpointCard) -> EndpointCard:
    """The card with what the trainer's server counts, which takes a request to it."""
    front = front_of(run.id, run.attempt) if card.is_open else None
    figures = figures_of(front) if front else None
    standing = card.standing
    if figures and figures.is_closing:
        # Its trainer has been told, and says so itself in a moment.
        standing = replace(standing, state=Stand.CLOSED, closes_at=None)
    return replace(card, figures=figures, standing=standing)


def with_error(card: EndpointCard, error: AppError, name: str) -> EndpointCard:
    return replace(card, errors=told_errors(error), key_name=name)


def base_url(request: Request, run: Run) -> str:
    """The whole address that a client of OpenAI's interface takes as its base."""
    return site_of(request) + path_of(run)


def path_of(run: Run) -> str:
    return f"{PREFIX}{run.id}/v1"
