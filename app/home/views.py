"""A person's own work: what runs, what waits, what came of the last runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app import clock
from app.models import Run, RunState, User
from app.runs import queries
from app.runs.board import RunLine, run_lines
from labs.contract import Lab
from labs.registry import all_labs

RECENT = 8
FIRST_LAB = "lora"


@dataclass(frozen=True, slots=True)
class HomePage:
    """My work. Rendered by home/show.html; its block `work` also alone."""

    live: Sequence[RunLine]
    waiting: Sequence[Run]
    recent: Sequence[RunLine]
    waiting_total: int
    first_lab: Lab
    labs: Sequence[Lab]
    is_new: bool
    now: datetime


def home_page(session: Session, actor: User) -> HomePage:
    runs, _cursor = queries.list_runs(session, actor, owner=actor.id, limit=50)
    live = [run for run in runs if run.state.is_live]
    over = [run for run in runs if run.state.is_over or run.state is RunState.HELD]
    labs = all_labs()
    return HomePage(
        live=run_lines(session, live),
        waiting=[run for run in runs if run.state is RunState.QUEUED],
        recent=run_lines(session, over[:RECENT]),
        waiting_total=queries.count_waiting(session),
        first_lab=next((lab for lab in labs if lab.slug == FIRST_LAB), labs[0]),
        labs=labs,
        is_new=not runs,
        now=clock.now(),
    )
