"""What the database knows of how runs were measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app import clock
from app.models import Attempt, Device, Run, RunEvent, RunState
from app.runs.labs_of import lab_of
from app.scoreboards.fairness import Evidence
from app.scoreboards.figures import Figures
from app.scoreboards.naming import method_name
from labs import registry
from labs.contract import LabError

# The table of the data that setup shows, and its cell for the share of cut rows.
DATA_TABLE, TRUNCATED, TRAINING_ROWS = "data", "truncated", "train"
# Whoever overlaps for less only waited for the other's end.
TOUCHING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Stay:
    """An attempt on a device, from begin to end."""

    run: UUID
    device: str
    begin: datetime
    end: datetime

    def overlaps(self, other: "Stay") -> bool:
        shared = min(self.end, other.end) - max(self.begin, other.begin)
        return self.device == other.device and shared.total_seconds() > TOUCHING_SECONDS


def evidence_of(
    session: Session, runs: Sequence[Run], figures: Mapping[UUID, Figures]
) -> list[Evidence]:
    """Of each run, in their order."""
    measured_in = {run.id: run.same_as_id or run.id for run in runs}
    stays = _stays(session, list(measured_in.values()))
    crowded = _crowded(session, stays)
    cut = _truncated(session, [run.id for run in runs])
    titles = dict(session.execute(select(Device.name, Device.title)).all())
    return [
        Evidence(
            method=method_name(lab_of(run)),
            is_measured=run.state is RunState.SUCCEEDED and bool(figures[run.id]),
            device=device_of(run, titles),
            neighbours=measured_in[run.id] in crowded,
            taken_over=run.same_as_id is not None,
            code=str(run.environment.get("code_version") or run.code_version),
            code_now=_code_now(run),
            truncated=cut.get(run.id),
            attempts=run.attempt,
            steps=_steps(figures[run.id]),
            expected_steps=run.params.get("steps"),
        )
        for run in runs
    ]


def device_of(run: Run, titles: Mapping[str, str]) -> str:
    """The device's own name as the trainer found it, else its title here."""
    found = run.environment.get("device_name") or titles.get(run.device or "")
    return str(found or run.device or "")


def _code_now(run: Run) -> str:
    try:
        return registry.code_version(run.lab)
    except LabError:
        return ""


def _steps(figures: Figures) -> int | None:
    trained = figures.get("time") or figures.get("speed")
    return trained.step if trained else None


def _stays(session: Session, ids: Sequence[UUID]) -> list[Stay]:
    return _between(session, Attempt.run_id.in_(ids))


def _between(session: Session, *where: Any) -> list[Stay]:
    columns = (Attempt.run_id, Attempt.device, Attempt.started_at, Attempt.finished_at)
    begun = select(*columns).where(Attempt.started_at.is_not(None), *where)
    return [
        Stay(run, device, begin, end or clock.now())
        for run, device, begin, end in session.execute(begun)
        if begin is not None
    ]


def _crowded(session: Session, stays: Sequence[Stay]) -> set[UUID]:
    """Of these runs, those that had others beside them. Whose those were is told to nobody."""
    if not stays:
        return set()
    first, last = min(each.begin for each in stays), max(each.end for each in stays)
    meanwhile = _between(
        session,
        Attempt.device.in_({each.device for each in stays}),
        Attempt.started_at < last,
        or_(Attempt.finished_at.is_(None), Attempt.finished_at > first),
    )
    return {
        each.run
        for each in stays
        if any(other.run != each.run and each.overlaps(other) for other in meanwhile)
    }


def _truncated(session: Session, ids: Sequence[UUID]) -> dict[UUID, float]:
    """The share of training rows that were cut, as setup counted it."""
    tables = select(RunEvent.run_id, RunEvent.payload).where(
        RunEvent.run_id.in_(ids), RunEvent.kind == "table"
    )
    found = {}
    for run_id, table in session.execute(tables.order_by(RunEvent.seq)):
        share = _share_in(table) if table.get("name") == DATA_TABLE else None
        if share is not None:
            found[run_id] = share
    return found


def _share_in(table: Mapping[str, Any]) -> float | None:
    keys = [column.get("key") for column in table.get("columns", ())]
    if TRUNCATED not in keys:
        return None
    rows = (row for row in table.get("rows", ()) if row and row[0] == TRAINING_ROWS)
    share = next((row[keys.index(TRUNCATED)] for row in rows), None)
    return float(share) if isinstance(share, int | float) else None
