"""Runs with something to see: curves, stages, tables, samples, artifacts."""

import math
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.metrics import store
from app.models import Artifact, Dataset, LanguageModel, Run, RunState, User
from app.runs import lifecycle
from labs.registry import get
from tests.support.factories import make_attempt, make_run

ANSWERS: dict[str, Any] = {
    "name": "answers",
    "title": "The same prompts through base and tuned model",
    "columns": [
        {"key": "prompt", "title": "Prompt", "unit": ""},
        {"key": "expected", "title": "Expected", "unit": ""},
        {"key": "base", "title": "Base", "unit": ""},
        {"key": "tuned", "title": "Tuned", "unit": ""},
    ],
    "rows": [{"prompt": "My printer burns", "expected": "FAC", "base": "the of", "tuned": "FAC"}],
}
SHARES: dict[str, Any] = {
    "name": "share",
    "title": "Trainable share by module",
    "columns": [
        {"key": "module", "title": "Module", "unit": ""},
        {"key": "share", "title": "Share", "unit": "fraction"},
    ],
    "rows": [["q_proj", 0.11], ["v_proj", 0.29]],
}
HEAT: dict[str, Any] = {
    "name": "singular",
    "title": "Singular values of BA",
    "x": ["1", "2", "3"],
    "y": ["layer 0", "layer 1"],
    "values": [[2.0, 1.0, 0.5], [1.5, "NaN", 0.1]],
    "unit": "",
}


def rows_until(steps: int, first: int = 0, diverges_at: int | None = None) -> list[store.MetricRow]:
    """A falling loss, an evaluation every tenth step; not-a-number from a step on if asked."""
    return [
        store.MetricRow(step, 1_770_000_000.0 + step, _values(step, diverges_at))
        for step in range(first, steps + 1)
    ]


def _values(step: int, diverges_at: int | None) -> dict[str, float]:
    loss = 0.3 + 2.5 * math.exp(-step / 40)
    values = {"train/learning_rate": 5e-3, "memory/peak_bytes": 4e8}
    values["train/loss"] = math.nan if diverges_at is not None and step >= diverges_at else loss
    if step % 10 == 0:
        values |= {"eval/loss": loss + 0.1, "eval/accuracy": 1 - math.exp(-step / 30)}
    return values


def make_shown_run(
    session: Session,
    owner: User,
    state: RunState = RunState.SUCCEEDED,
    steps: int = 60,
    diverges_at: int | None = None,
    params: dict[str, Any] | None = None,
    **values: Any,
) -> Run:
    """A run of the LoRA lab that has curves and results."""
    lab = get("lora")
    started = clock.now() - timedelta(minutes=2)
    defaults: dict[str, Any] = {
        "params": {**lab.params().model_dump(mode="json"), **(params or {})},
        "stages": [stage.name for stage in lab.stages],
        "attempt": 1,
        "device": "cpu",
        "created_at": started,
        "queued_at": started,
        "started_at": started,
        "finished_at": started + timedelta(seconds=70) if state.is_over else None,
        "stage": "train",
        "stage_started_at": started,
        "progress_done": float(steps),
        "progress_total": 120.0,
        **_inputs(session),
    }
    run = make_run(session, owner, state=state, **{**defaults, **values})
    make_attempt(session, run, started_at=started)
    store.append(session, run.id, 1, rows_until(steps, diverges_at=diverges_at))
    events: list[tuple[str, dict[str, Any]]] = [
        ("stage", {"stage": "setup", "status": "completed", "seconds": 1.2})
    ]
    if state is RunState.SUCCEEDED:
        events += [("table", SHARES), ("samples", ANSWERS), ("heatmap", HEAT)]
        session.add(_adapter(run))
    lifecycle.append_events(session, run.id, 1, events)
    session.flush()
    return run


def _inputs(session: Session) -> dict[str, Any]:
    """The bundled model and dataset, where they were registered."""
    model = session.scalar(select(LanguageModel).where(LanguageModel.name == "base"))
    dataset = session.scalar(select(Dataset).where(Dataset.name == "tickets"))
    return {"base_model_id": model.id, "dataset_id": dataset.id} if model and dataset else {}


def _adapter(run: Run) -> Artifact:
    return Artifact(
        run_id=run.id, name="adapter", kind="adapter", path="artifacts/adapter", bytes=312_000,
        sha256="ab" * 32, step=60, attempt=1, created_at=clock.now(),
    )  # fmt: skip
