"""The page of one run: what its template is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from markupsafe import Markup
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, can
from app.endpoints.views import EndpointCard, card_of
from app.errors import NotFound
from app.forms import as_text
from app.i18n import gettext
from app.lineage.onward import Onward, onward_of
from app.lineage.tree import Lineage, lineage_of
from app.metrics.store import latest, read
from app.models import Artifact, Attempt, Run, RunGroup, RunState, User
from app.queue.waiting import WaitingCard, waiting_card
from app.runs import queries
from app.runs.causes import Step
from app.runs.charts import Chart, charts_of, embedded, lines_of, points_of
from app.runs.coach import Coach, coach_of
from app.runs.deletion import Deletion, deletion_of
from app.runs.ending import Ending, ending_of
from app.runs.labs_of import lab_of
from app.runs.memory_card import MemoryCard, memory_card
from app.runs.named import named_by
from app.runs.report import report_of
from app.runs.same_work import SameWorkCard, card
from app.runs.shown import Shown, shown
from app.runs.stages import StageLine, stage_lines
from app.runs.tail import log_tail
from app.runs.tiles import Measurement, Tile, measurements, tiles
from app.runs.time_card import TimeCard, time_card
from app.runs.timeline import AttemptLine, timeline
from app.runs.untouched import Untouched, untouched_of
from labs.contract import Lab


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """A parameter of a run, and whether it is the lab's default."""

    title: str
    name: str
    value: str
    unit: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class CancelPage:
    """Asks once more before a run is cancelled. Rendered by runs/cancel.html."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run, live. Rendered by runs/show.html; its blocks `status`, `costs`, `results` also alone.

    `key` makes each button start at most one run, however often it is pressed.
    """

    run: Run
    lab: Lab
    now: datetime
    endpoint: EndpointCard | None
    stages: Sequence[StageLine]
    ending: Ending | None
    coach: Coach | None
    untouched: Untouched | None
    report: str
    retry_of: Run | None
    group: RunGroup | None
    memory: MemoryCard
    time: TimeCard
    key: str
    tiles: Sequence[Tile]
    measurements: Sequence[Measurement]
    charts: Sequence[Chart]
    data: Markup
    shown: Shown
    artifacts: Sequence[Artifact]
    attempts: Sequence[Attempt]
    tries: Sequence[AttemptLine]
    parameters: Sequence[ParameterRow]
    lineage: Lineage
    onward: Onward | None
    deletion: Deletion | None
    may_open_dataset: bool
    log: str
    seen: str
    may_cancel: bool
    may_release: bool
    waiting: WaitingCard | None
    same_work: SameWorkCard


def run_page(session: Session, actor: User, run: Run) -> RunPage:
    lab = lab_of(run)
    values = latest(session, [run.id])[run.id]
    events = queries.events(session, run.id)
    frame = read(session, run.id)
    charts = charts_of(lab, frame.columns)
    log = log_tail(run.id)
    now = clock.now()
    stages = stage_lines(run, lab, events, now)
    attempts = queries.attempts(session, run.id)
    artifacts = queries.artifacts(session, run.id)
    ending = ending_of(session, actor, run, attempts, artifacts, values)
    reached = max((value.step for value in values.values()), default=None)
    return RunPage(
        run=run,
        lab=lab,
        now=now,
        endpoint=card_of(session, actor, run),
        stages=stages,
        ending=ending,
        coach=coach_of(session, run, ending.next) if ending else None,
        untouched=untouched_of(session, actor, run, artifacts, frame),
        report=_report(run, ending),
        retry_of=_seen(session, actor, run.retry_of_id),
        group=session.get(RunGroup, run.group_id) if run.group_id else None,
        memory=memory_card(run, attempts, values),
        time=time_card(run, attempts, stages, values, now),
        key=uuid4().hex,
        tiles=tiles(run, lab, values),
        measurements=measurements(lab, values),
        charts=charts,
        data=embedded(lines_of(charts, lab), points_of(frame)),
        shown=shown(events),
        artifacts=artifacts,
        attempts=attempts,
        tries=timeline(run, attempts, reached),
        parameters=_parameters(run, lab, named_by(session, actor, run.id)),
        lineage=lineage_of(session, actor, run),
        onward=onward_of(run, artifacts),
        deletion=deletion_of(session, actor, run),
        may_open_dataset=queries.may_open(session, actor, run.dataset_id),
        log=log.text,
        seen=f"{frame.next_row}.{events[-1].seq if events else 0}.{log.end}",
        may_cancel=_may_cancel(actor, run),
        may_release=run.state is RunState.HELD and can(actor, Action.RELEASE_RUN, run.owner_id),
        waiting=waiting_card(session, actor, run),
        same_work=card(session, actor, run),
    )


def _may_cancel(actor: User, run: Run) -> bool:
    asked = run.cancel_requested_at is not None
    return not run.state.is_over and not asked and can(actor, Action.CANCEL_RUN, run.owner_id)


def _report(run: Run, ending: Ending | None) -> str:
    """The text to hand to an instructor, where that is a next step."""
    steps = ending.explanation.steps if ending else ()
    return report_of(run) if Step.REPORT in steps else ""


def _seen(session: Session, actor: User, run_id: UUID | None) -> Run | None:
    """The run this one was built upon or follows, where the reader may see it."""
    if run_id is None:
        return None
    try:
        return queries.get_run(session, actor, run_id)
    except NotFound:
        return None


def _parameters(run: Run, lab: Lab, named: Mapping[str, str]) -> list[ParameterRow]:
    properties = lab.params.model_json_schema().get("properties", {})
    rows = [
        ParameterRow(
            title=gettext(properties.get(name, {}).get("title", name)),
            name=name,
            value=named.get(name) or as_text(value),
            unit=gettext(properties.get(name, {}).get("unit", "") or ""),
            is_default=as_text(value) == as_text(properties.get(name, {}).get("default")),
        )
        for name, value in run.params.items()
    ]
    return sorted(rows, key=lambda row: row.is_default)
