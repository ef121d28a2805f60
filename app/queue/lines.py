"""Runs of the queue as a page shows them: of somebody else's only what everybody may know."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from app.access import Action, can
from app.endpoints.standing import OPEN_STAGE, SERVE
from app.i18n import gettext
from app.models import RunState, User
from app.queue.queries import Row
from app.queue.spans import Span, expected_end, stored
from labs import registry
from labs.contract import LabError

MOST_WHILE_RUNNING = 0.99


class QueueLine(NamedTuple):
    """One run. `run`, `name`, `owner` and `reason` are None where they are not to be known."""

    is_known: bool
    is_own: bool
    run: UUID | None
    name: str | None
    owner: str | None
    reason: Mapping[str, Any] | None
    lab: str
    state: RunState
    position: int | None
    start: Span | None
    end: Span | None
    since: datetime | None
    device: str | None
    fraction: float | None
    is_boosted: bool
    in_session: bool
    makes_room: bool
    is_open: bool
    may_cancel: bool
    may_boost: bool


def line_of(row: Row, actor: User, in_session: Collection[UUID], now: datetime) -> QueueLine:
    """What the actor sees of a run; `in_session` are the classes whose lab session goes on."""
    may_cancel = row.is_known and not row.asked_to_stop
    queued = row.state is RunState.QUEUED
    return QueueLine(
        is_known=row.is_known,
        is_own=row.is_own,
        run=row.run,
        name=row.name,
        owner=row.owner,
        reason=row.reason,
        lab=lab_title(row.lab),
        state=row.state,
        position=row.position if queued else None,
        start=stored(row.expected_start) if queued else None,
        end=_end(row, now),
        since=row.started_at,
        device=row.device,
        fraction=_fraction(row),
        is_boosted=row.boosted_at is not None,
        in_session=row.classroom in in_session,
        makes_room=row.state.is_live and row.preempt_requested_at is not None,
        is_open=_serves(row),
        may_cancel=may_cancel and can(actor, Action.CANCEL_RUN, row.owner_id),
        may_boost=row.is_known and queued and can(actor, Action.BOOST_RUN),
    )


def lab_title(slug: str) -> str:
    """The name of a lab; of one that was removed since, its address."""
    try:
        return gettext(registry.get(slug).title)
    except LabError:
        return slug


def _serves(row: Row) -> bool:
    """Whether its endpoint is open: it does nothing else any more."""
    return row.state is RunState.RUNNING and (row.lab, row.stage) == (SERVE, OPEN_STAGE)


def _end(row: Row, now: datetime) -> Span | None:
    """When a run on a device should end; one that serves says how long it stays open."""
    if not _serves(row):
        return expected_end(row, now) if row.state.is_live else None
    left = timedelta(seconds=max(0.0, row.progress_total - row.progress_done))
    return Span(now + left, now + left)


def _fraction(row: Row) -> float | None:
    """How far the current stage is; unknown until it says so."""
    if row.state is not RunState.RUNNING or row.progress_total <= 0:
        return None
    return max(0.0, min(MOST_WHILE_RUNNING, row.progress_done / row.progress_total))
