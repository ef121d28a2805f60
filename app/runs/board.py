"""Lists of runs: each with its lab, progress, headline and a small curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import visible
from app.groups.views import GroupLine, recent_groups
from app.i18n import gettext
from app.identities import as_uuid
from app.metrics.store import LatestValue, latest, read
from app.models import Role, Run, RunState, User
from app.runs.labs_of import lab_of
from app.runs.queries import list_runs
from app.runs.sparkline import sparkline
from app.runs.stages import progress_fraction
from app.runs.tiles import headline
from labs.contract import Lab
from labs.registry import all_labs

PAGE = 30
CURVE_KEYS = ("eval/loss", "train/loss")


class Filters(BaseModel):
    """What the list of runs is narrowed to; all of it stands in the address."""

    model_config = ConfigDict(extra="ignore")

    state: str = ""
    lab: str = ""
    owner: str = ""
    search: str = ""
    cursor: str | None = None

    def address(self, **changes: str | None) -> str:
        """The list with these filters and changes."""
        values = {**self.model_dump(), "cursor": None, **changes}
        return "/runs?" + urlencode({name: value for name, value in values.items() if value})

    @property
    def are_set(self) -> bool:
        return bool(self.state or self.lab or self.owner or self.search)


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in a list."""

    run: Run
    lab: Lab
    fraction: float | None
    headline: tuple[str, str] | None
    curve: str


@dataclass(frozen=True, slots=True)
class RunsPage:
    """Runs a person may see, newest first. Rendered by runs/index.html; block `list` also alone."""

    lines: Sequence[RunLine]
    groups: Sequence[GroupLine]
    filters: Filters
    next_address: str | None
    labs: Sequence[tuple[str, str]]
    states: Sequence[RunState]
    owners: Sequence[tuple[str, str]]
    with_owner: bool
    is_live: bool


def runs_page(session: Session, actor: User, filters: Filters) -> RunsPage:
    runs, cursor = list_runs(
        session,
        actor,
        state=RunState(filters.state) if filters.state in set(RunState) else None,
        lab=filters.lab or None,
        owner=as_uuid(filters.owner),
        search=filters.search[:100] or None,
        cursor=filters.cursor or None,
        limit=PAGE,
    )
    return RunsPage(
        lines=run_lines(session, runs),
        groups=recent_groups(session, actor),
        filters=filters,
        next_address=filters.address(cursor=cursor) if cursor else None,
        labs=[(lab.slug, gettext(lab.title)) for lab in all_labs()],
        states=list(RunState),
        owners=_owners(session, actor) if actor.role is not Role.STUDENT else [],
        with_owner=actor.role is not Role.STUDENT,
        is_live=any(not run.state.is_over for run in runs),
    )


def _owners(session: Session, actor: User) -> list[tuple[str, str]]:
    """The people whose runs the actor may see, by name."""
    with_runs = select(Run.owner_id).where(visible(actor))
    people = select(User).where(User.id.in_(with_runs)).order_by(User.name)
    return [(str(person.id), person.name) for person in session.scalars(people)]


def run_lines(session: Session, runs: Sequence[Run]) -> list[RunLine]:
    values = latest(session, [run.id for run in runs])
    return [_line(session, run, values[run.id]) for run in runs]


def _line(session: Session, run: Run, values: Mapping[str, LatestValue]) -> RunLine:
    lab = lab_of(run)
    key = next((key for key in CURVE_KEYS if key in values), None)
    curve = sparkline(*read(session, run.id, [key]).series(key)) if key else ""
    return RunLine(run, lab, progress_fraction(run), headline(lab, values), curve)
