"""The stages of a run as a line of steps: done, now, ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.i18n import gettext
from app.models import Run, RunEvent, RunState
from labs.contract import Lab

Status = Literal["done", "skipped", "now", "stopped", "ahead"]
# Before this share of a stage is done, a rate says nothing about the rest.
FIRST_JUDGED = 0.03
# 100 % is shown when the stage has said that it is complete.
MOST_WHILE_RUNNING = 0.99


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage of a run and how far it is. `left` is in seconds, an estimate."""

    name: str
    title: str
    summary: str
    status: Status
    seconds: float | None = None
    fraction: float | None = None
    note: str = ""
    left: float | None = None


def stage_lines(run: Run, lab: Lab, events: Sequence[RunEvent], now: datetime) -> list[StageLine]:
    """All stages that this run carries out, in order."""
    ended = {
        event.payload.get("stage"): event.payload
        for event in events
        if event.kind == "stage" and event.payload.get("status") in ("completed", "skipped")
    }
    titles = {stage.name: stage for stage in lab.stages}
    lines = []
    for name in map(str, run.stages):
        stage = titles.get(name)
        title = gettext(stage.title) if stage else name
        summary = gettext(stage.summary) if stage and stage.summary else ""
        if name in ended:
            payload = ended[name]
            status: Status = "done" if payload["status"] == "completed" else "skipped"
            lines.append(StageLine(name, title, summary, status, payload.get("seconds")))
        elif name == run.stage:
            lines.append(_current(run, title, summary, now))
        else:
            lines.append(StageLine(name, title, summary, "ahead"))
    return lines


def _current(run: Run, title: str, summary: str, now: datetime) -> StageLine:
    name = run.stage or ""
    fraction = progress_fraction(run)
    if run.state is not RunState.RUNNING:
        status: Status = "stopped" if run.state.is_over else "ahead"
        return StageLine(name, title, summary, status, fraction=fraction)
    elapsed = (now - run.stage_started_at).total_seconds() if run.stage_started_at else None
    left = None
    if elapsed is not None and fraction is not None and fraction >= FIRST_JUDGED:
        left = elapsed * (1 - fraction) / fraction
    return StageLine(
        name, title, summary, "now", elapsed, fraction, gettext(run.progress_note), left
    )


def progress_fraction(run: Run) -> float | None:
    """How far the current stage is; unknown until it says so."""
    if run.progress_total <= 0:
        return None
    return max(0.0, min(MOST_WHILE_RUNNING, run.progress_done / run.progress_total))
