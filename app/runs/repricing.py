"""How long waiting runs will take, anew from how long runs like them take today.

What a run was told when it was sent stays with it, to stand beside what is measured; the columns
that turns and expected starts are counted with follow what has been learned since.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, update

from app.database import reading, transaction
from app.models import Run, RunState
from app.runs.costs import time_factor

# Whose turn is far away will be looked at when it is nearer.
FRONT = 200
# A smaller change would move expected starts to and fro for nothing.
WORTH_TELLING = 0.1


def reprice() -> int:
    """Correct the time of the runs whose turn is near; returns of how many."""
    with reading() as session:

        @cache
        def learned(lab: str, model: UUID) -> float:
            return time_factor(session, lab, model)

        near = session.execute(_NEAR).all()
        changes = [
            change for run in near if (change := _change(run, learned(run.lab, run.base_model_id)))
        ]
    if not changes:
        return 0
    with transaction() as session:
        for run_id, low, high in changes:
            session.execute(
                update(Run)
                .where(Run.id == run_id, Run.state == RunState.QUEUED)
                .values(seconds_low=low, seconds_high=high)
                .execution_options(synchronize_session=False)
            )
    return len(changes)


_NEAR = (
    select(Run.id, Run.lab, Run.base_model_id, Run.estimate, Run.seconds_low, Run.seconds_high)
    .where(Run.state == RunState.QUEUED, Run.position <= FRONT)
    .order_by(Run.id)
)


def _change(run: Row[Any], factor: float) -> tuple[UUID, float, float] | None:
    predicted: Sequence[float] = run.estimate.get("predicted_seconds") or ()
    if len(predicted) != 2 or run.seconds_high is None:
        return None
    low, high = (each * factor for each in predicted)
    if abs(high - run.seconds_high) <= WORTH_TELLING * run.seconds_high:
        return None
    return run.id, low, high
