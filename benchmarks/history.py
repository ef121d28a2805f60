"""A finished run with a long history, written straight into a database."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from sqlalchemy import select

from app import clock, database
from app.metrics import store
from app.metrics.store import MetricRow
from app.models import Dataset, LanguageModel, Run, RunState, User
from app.settings import get_settings

KEYS = (
    "train/loss", "train/learning_rate", "train/grad_norm", "throughput/tokens_per_second",
    "memory/allocated_bytes", "memory/peak_bytes", "time/step_seconds", "eval/loss",
)  # fmt: skip
SPIKE_STEP, SPIKE = 31_337, 999.0


@contextmanager
def database_of(home: Path, url: str = "") -> Iterator[None]:
    """Point this process, and those that it starts, at another Bunsen's data."""
    chosen = {"BUNSEN_HOME": str(home), **({"BUNSEN_DATABASE_URL": url} if url else {})}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    _forget()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        _forget()


def _forget() -> None:
    database.reset()
    get_settings.cache_clear()


def add_run(steps: int, state: RunState = RunState.SUCCEEDED, name: str = "history") -> UUID:
    """A LoRA run of the admin with `steps` x 8 metrics, one spike in the first."""
    with database.transaction() as session:
        run = _run(state, name)
        run.owner_id = session.scalars(select(User.id)).first()  # type: ignore[assignment]
        run.base_model_id = session.scalars(select(LanguageModel.id)).first()  # type: ignore[assignment]
        run.dataset_id = session.scalars(select(Dataset.id)).first()  # type: ignore[assignment]
        session.add(run)
    for first in range(0, steps, 1000):
        with database.transaction() as session:
            store.append(
                session, run.id, 1, [_row(s) for s in range(first, min(steps, first + 1000))]
            )
    with database.transaction() as session:
        store.merge(session, run.id)
    return run.id


def _run(state: RunState, name: str) -> Run:
    now = clock.now()
    return Run(
        name=name, lab="lora", code_version="-", stages=["setup", "train"], params={"steps": 1},
        seed=0, estimate={}, state=state, attempt=1, created_at=now, queued_at=now,
        started_at=now, finished_at=now if state.is_over else None,
    )  # fmt: skip


def _row(step: int) -> MetricRow:
    wave = [1 + math.sin(step / (50 + 7 * k)) + (step * 7919 % 101) / 400 for k in range(len(KEYS))]
    if step == SPIKE_STEP:
        wave[0] = SPIKE
    return MetricRow(step, 1.7e9 + step, dict(zip(KEYS, wave, strict=True)))
