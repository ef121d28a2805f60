"""A person's own work: what runs, what waits, what came of the last runs; and who needs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app import clock
from app.access import classroom_of
from app.classrooms import sessions
from app.classrooms.queries import count_held, held
from app.classrooms.use import Standing, own_standing
from app.classrooms.views import ClassCard, RunOfClass, class_cards, run_of_class
from app.models import Classroom, ClassSession, Role, Run, RunState, User
from app.runs import queries
from app.runs.board import RunLine, run_lines
from labs.contract import Lab
from labs.registry import all_labs

RECENT = 8
HELD = 6
FIRST_LAB = "lora"


@dataclass(frozen=True, slots=True)
class HomePage:
    """My work. Rendered by home/show.html; its blocks `work` and `classes` also alone.

    `classes` and `held` are for those who teach, `standings` for those who learn.
    """

    sessions: Sequence[ClassSession]
    classes: Sequence[ClassCard]
    held: Sequence[RunOfClass]
    held_total: int
    standings: Sequence[Standing]
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
    labs, now = all_labs(), clock.now()
    teaches = actor.role is not Role.STUDENT
    return HomePage(
        sessions=sessions.current(session, now),
        classes=[card for card in class_cards(session, actor, now) if card.is_steered],
        held=[run_of_class(run) for run in held(session, actor, HELD)] if teaches else [],
        held_total=count_held(session, actor) if teaches else 0,
        standings=[] if teaches else own_standing(session, actor, _class(session, actor), now),
        live=run_lines(session, live),
        waiting=[run for run in runs if run.state is RunState.QUEUED],
        recent=run_lines(session, over[:RECENT]),
        waiting_total=queries.count_waiting(session),
        first_lab=next((lab for lab in labs if lab.slug == FIRST_LAB), labs[0]),
        labs=labs,
        is_new=not runs,
        now=now,
    )


def _class(session: Session, actor: User) -> Classroom | None:
    key = classroom_of(session, actor)
    return session.get(Classroom, key) if key else None
