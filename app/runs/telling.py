"""Write down what waiting runs are told: only what changed, many rows in one statement.

The head of the line is told at once. Those far back see their number fall each time a run
starts, so with thousands in line they are told every few seconds.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock
from typing import Any
from uuid import UUID

from sqlalchemy import FromClause, Select, column, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.models import Run, RunState
from app.runs.explanation import Explanation
from app.runs.places import Rules
from app.runs.scheduling import Plan, explain

Json = dict[str, Any]
# So many at the head of the line are told at each decision.
NEAR = 200
FAR_EVERY_SECONDS = 5.0
# To tell them takes at most one part in so many of the time, however long the line.
FAR_ONE_IN = 10
# So many rows in one transaction: who else wants to write waits no longer.
AT_ONCE = 2000
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
    told = [_row(run, each, now) for run, each in explain(plan, now, rules, first, instead).items()]
    with reading() as session:
        changed = _changed(session, told)
    for start in range(0, len(changed), AT_ONCE):
        with transaction() as session:
            _write(session, changed[start : start + AT_ONCE])
    if is_long and first is None:
        _far.took(time.monotonic() - began)
    return len(changed)


def _changed(session: Session, told: Sequence[Json]) -> list[Json]:
    due = _due(session, told).subquery()
    positions = set(session.scalars(select(due.c.position)))
    return [row for row in told if row["position"] in positions]


def _write(session: Session, told: Sequence[Json]) -> None:
    # A row that somebody changes just now is left out, not waited for: no two block each other.
    due = _due(session, told).with_for_update(of=Run, skip_locked=True).cte("due")
    session.connection().execute(
        update(Run).where(Run.id == due.c.id).values({name: due.c[name] for name in _NAMES})
    )


def _due(session: Session, told: Sequence[Json]) -> Select[Any]:
    """Of what is to be told, what runs that wait do not say yet."""
    rows = _table(session, told)
    differs = or_(*(getattr(Run, name).is_distinct_from(rows.c[name]) for name in _NAMES))
    # Through a function, or SQLite goes through all that wait for each row instead of by its key.
    waits = func.coalesce(Run.state, RunState.CANCELLED) == RunState.QUEUED
    return select(rows).join(Run, Run.id == rows.c.id).where(waits, differs)


def _table(session: Session, told: Sequence[Json]) -> FromClause:
    """The rows as a table: one parameter, however many they are."""
    columns = [column(name, getattr(Run, name).type) for name in ("id", *_NAMES)]
    if session.get_bind().dialect.name == "postgresql":
        rows = func.jsonb_to_recordset(literal(told, JSONB)).table_valued(*columns, name="told")
        return rows.render_derived(with_types=True)
    text = json.dumps(told, separators=(",", ":"))
    each = func.json_each(text).table_valued("value").c.value
    fields = (func.json_extract(each, f"$.{c.name}", type_=c.type).label(c.name) for c in columns)
    return select(*fields).subquery("told")


_NAMES = ("position", "reason", "expected_start")


def _row(run: UUID, explained: Explanation, now: datetime) -> Json:
    values = (explained.position, explained.reason, _range(explained.expected_start, now))
    return {"id": run.hex, **dict(zip(_NAMES, values, strict=True))}


def _range(expected: tuple[datetime, datetime] | None, now: datetime) -> Json | None:
    if expected is None:
        return None
    return {"earliest": rounded(expected[0], now), "latest": rounded(expected[1], now)}


def rounded(moment: datetime, now: datetime) -> str:
    """The nearest step; never before what anything nearer is told, or the line would look mixed up."""
    stamp, base = moment.timestamp(), now.timestamp()
    told = 0
    for most, step in PRECISION_SECONDS:
        told = max(told, round(min(stamp, base + most) / step) * step)
        if stamp < base + most:
            return _written(told)
    return _written(max(told, round(stamp / ROUGHEST_SECONDS) * ROUGHEST_SECONDS))


@lru_cache
def _written(stamp: int) -> str:
    """Thousands of rows say the same few instants."""
    return datetime.fromtimestamp(stamp, UTC).isoformat()
