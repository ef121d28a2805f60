"""The pages of scoreboards: what their templates are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import Action, can
from app.compare.address import MOST_RUNS
from app.compare.address import address as compare_address
from app.errors import NotFound
from app.forms import Field, Values, as_text, param_fields
from app.groups.progress import Progress, progress_of
from app.groups.queries import group_runs
from app.i18n import N_, gettext
from app.models import Device, Run, RunGroup, RunState, User
from app.runs.labs_of import lab_of
from app.runs.queries import may_open
from app.scoreboards.choice import Choice
from app.scoreboards.columns import Heading, headings
from app.scoreboards.evidence import device_of, evidence_of
from app.scoreboards.fairness import warnings_of
from app.scoreboards.figures import Figures, figures_of
from app.scoreboards.naming import method_name
from app.scoreboards.plan import BUDGET
from app.scoreboards.table import Line, in_order, lines_of
from app.scoreboards.tradeoff import Entry, Tradeoff, tradeoff_of
from labs.contract import Lab

Json = dict[str, Any]
PROCESS_MEMORY = N_("of the whole process on a CPU: the base model, Python and libraries included")
DEVICE_MEMORY = N_("of the device on CUDA: what tensors took")


@dataclass(frozen=True, slots=True)
class ColumnHead:
    """A column's heading with the address that sorts by it; `sorted` is "", ascending or descending."""

    heading: Heading
    address: str
    sorted: str


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured of a scoreboard's runs."""

    runs: Sequence[Run]
    labs: Sequence[Lab]
    figures: Mapping[UUID, Figures]
    headings: Sequence[Heading]
    warnings: Sequence[Json]
    progress: Progress
    devices: Mapping[UUID, str]

    @property
    def entries(self) -> list[Entry]:
        """The methods that have a result."""
        return [
            Entry(run.lab, method_name(lab), self.figures[run.id])
            for run, lab in zip(self.runs, self.labs, strict=True)
            if run.state is RunState.SUCCEEDED
        ]


@dataclass(frozen=True, slots=True)
class ScoreboardPage:
    """One scoreboard, live. Rendered by scoreboards/show.html; its block `board` also alone."""

    group: RunGroup
    first: Run
    budget: Sequence[Field]
    heads: Sequence[ColumnHead]
    lines: Sequence[Line]
    progress: Progress
    warnings: Sequence[Json]
    tradeoff: Tradeoff | None
    memory_notes: Sequence[str]
    choice: Choice
    address: str
    compare: str
    may_open_dataset: bool
    may_cancel: bool
    alone: bool


def measured_of(session: Session, actor: User, group: RunGroup) -> Measured:
    """Everything that page, download and API tell of a scoreboard."""
    runs = group_runs(session, actor, group)
    if not runs:
        raise NotFound(N_("The runs of this scoreboard are gone."))
    labs = [lab_of(run) for run in runs]
    figures = figures_of(session, runs)
    done = progress_of(runs)
    titles = dict(session.execute(select(Device.name, Device.title)).all())
    return Measured(
        runs=runs,
        labs=labs,
        figures=figures,
        headings=headings(labs),
        warnings=warnings_of(evidence_of(session, runs, figures), done.is_over),
        progress=done,
        devices={run.id: device_of(run, titles) for run in runs},
    )


def scoreboard_page(
    session: Session, actor: User, group: RunGroup, choice: Choice
) -> ScoreboardPage:
    found = measured_of(session, actor, group)
    lines = lines_of(found.runs, found.figures, found.headings, found.devices)
    return ScoreboardPage(
        group=group,
        first=found.runs[0],
        budget=_budget(group, found.labs[0]),
        heads=[_head(group, choice, each) for each in found.headings],
        lines=in_order(lines, found.figures, found.headings, choice.sort, choice.is_reversed),
        progress=found.progress,
        warnings=found.warnings,
        tradeoff=tradeoff_of(found.entries, found.headings, choice.cost, choice.quality),
        memory_notes=_memory_notes(found.runs),
        choice=choice,
        address=choice.address(group.id),
        compare=compare_address([run.id for run in found.runs][:MOST_RUNS]),
        may_open_dataset=may_open(session, actor, found.runs[0].dataset_id),
        may_cancel=not found.progress.is_over
        and group.cancelled_at is None
        and can(actor, Action.CANCEL_RUN, group.owner_id),
        alone=bool(group.spec.get("alone")),
    )


def _head(group: RunGroup, choice: Choice, heading: Heading) -> ColumnHead:
    is_chosen = heading.name == choice.sort
    turned = "" if is_chosen and choice.is_reversed else "1" if is_chosen else ""
    ascending = (heading.direction == "higher") == choice.is_reversed
    return ColumnHead(
        heading=heading,
        address=choice.address(group.id, "#results", sort=heading.name, reverse=turned),
        sorted=("ascending" if ascending else "descending") if is_chosen else "",
    )


def _budget(group: RunGroup, lab: Lab) -> list[Field]:
    """What was equal for all, as it was asked for."""
    asked = group.spec.get("budget", {})
    texts = {name: as_text(value) for name, value in asked.items()}
    fields = {each.name: each for each in param_fields(lab.params, Values(texts))}
    return [fields[name] for name in BUDGET if name in fields and name in asked]


def _memory_notes(runs: Sequence[Run]) -> list[str]:
    """What peak memory is of, on the kinds of devices that these runs were on."""
    kinds = {str(run.environment.get("device") or run.device or "cpu")[:4] for run in runs}
    notes = [PROCESS_MEMORY] if kinds - {"cuda"} else []
    return [gettext(each) for each in (*notes, *([DEVICE_MEMORY] if "cuda" in kinds else []))]
