"""Write down what waiting runs are told: only what changed, many rows in one go.

The head of the line is told at once. Those far back see their number fall each time a run
starts, so with thousands in line they are told every few seconds.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.models import Run, RunState
from app.runs.explanation import Explanation
from app.runs.places import Rules
from app.runs.scheduling import Plan, explain

Json = dict[str, Any]
# So many at the head of the line are told at each decision.
NEAR = 200
FAR_EVERY_SECONDS = 15.0
# To tell them takes at most one part in so many of the time, however long the line.
FAR_ONE_IN = 10
# Expected starts are told the more roughly the further away: rows change only when it matters.
PRECISION_SECONDS = ((600.0, 30), (7200.0, 300))
ROUGHEST_SECONDS = 1800


class _Turn:
    """Says when those far back are due again, to one caller of this process."""

    def __init__(self) -> None:
        self._lock, self._due = Lock(), 0.0

    def take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if now < self._due:
                return False
            self._due = now + FAR_EVERY_SECONDS
            return True

    def took(self, seconds: float) -> None:
        """Wait longer for the next turn if this one was long."""
        with self._lock:
            self._due = max(self._due, time.monotonic() + (FAR_ONE_IN - 1) * seconds)

    def reset(self) -> None:
        self._due = 0.0


_far = _Turn()


def forget() -> None:
    """Tell everybody at the next decision; for tests and measurements."""
    _far.reset()


def tell(plan: Plan, now: datetime, rules: Rules, instead: Json | None = None) -> int:
    """Bring position, reason and expected start up to date; returns how many rows changed."""
    began = time.monotonic()
    is_long = len(plan.front(NEAR + 1)) > NEAR
    first = NEAR if is_long and not _far.take() else None
    told = {
        run: _columns(each, now) for run, each in explain(plan, now, rules, first, instead).items()
    }
    with reading() as session:
        changed = _changed(session, told, first is None)
    if changed:
        with transaction() as session:
            _write(session, changed)
    if is_long and first is None:
        _far.took(time.monotonic() - began)
    return len(changed)


def _changed(session: Session, told: Mapping[UUID, Json], is_all: bool) -> dict[UUID, Json]:
    statement = select(Run.id, Run.position, Run.reason, Run.expected_start)
    statement = statement.where(Run.state == RunState.QUEUED)
    if not is_all:
        statement = statement.where(Run.id.in_(told))
    return {
        run: told[run]
        for run, *present in session.execute(statement)
        if run in told and present != list(told[run].values())
    }


def _write(session: Session, changed: Mapping[UUID, Json]) -> None:
    statement = (
        update(Run)
        .where(Run.id == bindparam("of"), Run.state == RunState.QUEUED)
        .values({name: bindparam(f"new_{name}") for name in _NAMES})
    )
    # In the order of ids, so that two who write at once wait for each other instead of both.
    rows = [
        {"of": run, **{f"new_{name}": value for name, value in changed[run].items()}}
        for run in sorted(changed)
    ]
    session.connection().execute(statement, rows)


_NAMES = ("position", "reason", "expected_start")


def _columns(explained: Explanation, now: datetime) -> Json:
    values = (explained.position, explained.reason, _range(explained.expected_start, now))
    return dict(zip(_NAMES, values, strict=True))


def _range(expected: tuple[datetime, datetime] | None, now: datetime) -> Json | None:
    if expected is None:
        return None
    return {"earliest": _rounded(expected[0], now), "latest": _rounded(expected[1], now)}


def _rounded(moment: datetime, now: datetime) -> str:
    away = (moment - now).total_seconds()
    step = next((step for most, step in PRECISION_SECONDS if away < most), ROUGHEST_SECONDS)
    return datetime.fromtimestamp(
        round(moment.timestamp() / step) * step, moment.tzinfo
    ).isoformat()
