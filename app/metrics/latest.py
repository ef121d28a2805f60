"""The newest, first and extreme value of each key of a run, for lists and sorting."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Insert, case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.metrics.chunk import Block, Bools, Floats, Ints
from app.models import MetricLatest


@dataclass(frozen=True, slots=True)
class LatestValue:
    """Of one key: the newest value and its step; the first; the extremes of finite ones."""

    step: int
    value: float
    first: float
    minimum: float | None
    maximum: float | None


def latest(session: Session, run_ids: Collection[UUID]) -> dict[UUID, dict[str, LatestValue]]:
    """The newest values of several runs, by run and key."""
    found: dict[UUID, dict[str, LatestValue]] = {run_id: {} for run_id in run_ids}
    rows = session.scalars(select(MetricLatest).where(MetricLatest.run_id.in_(run_ids)))
    for row in rows:
        found[row.run_id][row.key] = LatestValue(
            row.step, _number(row.value), _number(row.first), row.minimum, row.maximum
        )
    return found


def update(session: Session, run_id: UUID, block: Block) -> None:
    """Bring the newest values up to date with rows that were just appended."""
    summary = _summaries(
        run_id,
        block.steps,
        {key: (block.values[line], block.present[line]) for line, key in enumerate(block.keys)},
    )
    if not summary:
        return
    session.execute(_upsert(session.get_bind().dialect.name), summary)


@cache
def _upsert(dialect: str) -> Insert:
    """Made once: a run that trains needs it several times a second."""
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(MetricLatest)
    new, old = statement.excluded, MetricLatest
    upsert: Insert = statement.on_conflict_do_update(
        index_elements=["run_id", "key"],
        set_={
            "step": new.step,
            "value": new.value,
            "minimum": _extreme(new.minimum, old.minimum, new.minimum < old.minimum),
            "maximum": _extreme(new.maximum, old.maximum, new.maximum > old.maximum),
        },
    )
    return upsert


def reaches(session: Session, run_id: UUID, steps: Mapping[str, int]) -> bool:
    """Whether any of these keys was logged before at this step or a later one."""
    known = select(MetricLatest.key, MetricLatest.step).where(
        MetricLatest.run_id == run_id, MetricLatest.key.in_(steps)
    )
    return any(step >= steps[key] for key, step in session.execute(known))


def replace(
    session: Session, run_id: UUID, steps: Ints, columns: Mapping[str, tuple[Floats, Bools]]
) -> None:
    """Work the newest values out again, after rows were archived."""
    session.execute(delete(MetricLatest).where(MetricLatest.run_id == run_id))
    session.add_all(MetricLatest(**row) for row in _summaries(run_id, steps, columns))
    session.flush()


def _extreme(new: Any, old: Any, better: Any) -> Any:
    """The better of two numbers either of which may be missing."""
    return case((or_(old.is_(None), better), new), else_=old)


def _summaries(
    run_id: UUID, steps: Ints, columns: Mapping[str, tuple[Floats, Bools]]
) -> list[dict[str, Any]]:
    return [
        _summary(run_id, key, steps[present], values[present])
        for key, (values, present) in columns.items()
        if present.any()
    ]


def _summary(run_id: UUID, key: str, steps: Ints, values: Floats) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    return {
        "run_id": run_id,
        "key": key,
        "step": int(steps[-1]),
        "value": _storable(values[-1]),
        "first": _storable(values[0]),
        "minimum": float(finite.min()) if finite.size else None,
        "maximum": float(finite.max()) if finite.size else None,
    }


def _storable(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _number(stored: float | None) -> float:
    return math.nan if stored is None else stored
