"""What was measured of runs of any lab, and which of it may be compared."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import MetricLatest, Run, RunResource
from app.runs.believed import finite
from labs.contract import Direction

ACCURACY, PERPLEXITY = "test/accuracy", "test/perplexity"
SIZE, LATENCY = "artifact/bytes", "latency/mean_seconds"
SPEED, MEMORY = "throughput/generated_tokens_per_second", "memory/peak_bytes"
# Of the model that a run started from, measured by the same code in the same run.
BEFORE: Mapping[str, str] = {
    ACCURACY: "test/base_accuracy",
    PERPLEXITY: "test/base_perplexity",
    SIZE: "artifact/base_bytes",
}
QUALITIES = (ACCURACY, PERPLEXITY)
KEYS = (*QUALITIES, SIZE, LATENCY, SPEED, MEMORY)
UNITS: Mapping[str, str] = {
    ACCURACY: "fraction", PERPLEXITY: "", SIZE: "bytes", LATENCY: "s", SPEED: "tokens/s",
    MEMORY: "bytes",
}  # fmt: skip
DIRECTIONS: Mapping[str, Direction] = {
    key: "higher" if key in (ACCURACY, SPEED) else "lower" for key in KEYS
}
# The parameter that names the running text, and those that say how it is read.
TEXT = "calibration"
READ_BY = ("evaluation_window", "evaluation_stride", "evaluation_tokens")

Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """The newest values of a run, and on what its quality was judged: equal ones compare."""

    values: Values
    on: Mapping[str, Hashable]

    def compares(self, other: "Judged", key: str) -> bool:
        return self.on.get(key) == other.on.get(key)


def judged(session: Session, runs: Sequence[Run]) -> dict[UUID, Judged]:
    """The values of each run that a page may set beside another's."""
    ids = [run.id for run in runs]
    values, texts = _values(session, ids), _texts(session, ids)
    return {run.id: Judged(values[run.id], _on(run, texts.get(run.id))) for run in runs}


def _values(session: Session, ids: Collection[UUID]) -> dict[UUID, dict[str, float]]:
    found: dict[UUID, dict[str, float]] = {run_id: {} for run_id in ids}
    columns = select(
        MetricLatest.run_id, MetricLatest.key, MetricLatest.value, MetricLatest.maximum
    )
    wanted = columns.where(
        MetricLatest.run_id.in_(ids), MetricLatest.key.in_([*KEYS, *BEFORE.values()])
    )
    for run_id, key, newest, most in session.execute(wanted):
        value = finite(most if key == MEMORY else newest)
        if value is not None:
            found[run_id][key] = value
    return found


def _texts(session: Session, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """The running text of those that named one."""
    named = select(RunResource.run_id, RunResource.dataset_id).where(
        RunResource.run_id.in_(ids), RunResource.name == TEXT, RunResource.dataset_id.is_not(None)
    )
    return {run_id: text for run_id, text in session.execute(named) if text is not None}


def _on(run: Run, text: UUID | None) -> dict[str, Hashable]:
    read = tuple(str(run.params.get(name)) for name in READ_BY)
    return {ACCURACY: run.dataset_id, PERPLEXITY: (text or run.dataset_id, read)}
