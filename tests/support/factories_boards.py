"""Scoreboards whose runs have ended, with figures as labs log them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.metrics import store
from app.models import Artifact, GroupKind, Run, RunGroup, RunState, User
from app.runs import lifecycle
from labs.registry import get
from tests.support.factories import add, make_attempt, make_dataset, make_model, make_run

STEPS = 20
# Accuracy reached, trainable share, bytes on disk, peak bytes, seconds a step.
METHODS: Mapping[str, tuple[float, float, float, float, float]] = {
    "adapter": (0.93, 0.021, 160_000, 6.1e8, 0.031),
    "bitfit": (0.71, 0.0012, 21_000, 5.6e8, 0.025),
    "full": (0.96, 1.0, 7_400_000, 7.4e8, 0.046),
    "ia3": (0.88, 0.0015, 24_000, 5.7e8, 0.027),
    "lora": (0.95, 0.034, 312_000, 6.2e8, 0.033),
    "p_tuning": (0.80, 0.05, 400_000, 6.3e8, 0.034),
    "p_tuning_v2": (0.90, 0.008, 66_000, 6.0e8, 0.036),
    "prefix_tuning": (0.86, 0.008, 66_000, 6.0e8, 0.035),
    "prompt_tuning": (0.62, 0.0011, 9_000, 5.9e8, 0.034),
}
DATA_TABLE = {
    "name": "data",
    "title": "Data, as the model reads it",
    "columns": [{"key": "split", "title": "Split"}, {"key": "truncated", "title": "Truncated"}],
}


def make_scoreboard(
    session: Session,
    owner: User,
    methods: Sequence[str] = tuple(METHODS),
    states: Mapping[str, RunState] | None = None,
    name: str = "Tickets on base, 9 methods",
    **values: Any,
) -> RunGroup:
    """A scoreboard; runs have succeeded one after another unless `states` says otherwise."""
    now = clock.now()
    group: RunGroup = add(
        session,
        RunGroup(
            owner_id=owner.id, kind=GroupKind.SCOREBOARD, name=name, created_at=now,
            spec={"methods": list(methods), "budget": {"steps": STEPS, "batch_size": 16}, "alone": True},
        ),
    )  # fmt: skip
    inputs = {"base_model_id": make_model(session).id, "dataset_id": make_dataset(session).id}
    for place, method in enumerate(methods):
        state = (states or {}).get(method, RunState.SUCCEEDED)
        made = {**inputs, "group_id": group.id, "group_place": place, "state": state, **values}
        make_member(session, owner, method, now - timedelta(minutes=20 - place), **made)
    return group


def make_member(session: Session, owner: User, method: str, started: Any, **values: Any) -> Run:
    """One run of a scoreboard, a quarter of a minute long, with all its figures."""
    state, lab = values["state"], get(method)
    is_over = state.is_over
    defaults: dict[str, Any] = {
        "name": f"{method} of a scoreboard",
        "lab": method,
        "params": {"steps": STEPS, "learning_rate": 5e-3},
        "stages": [stage.name for stage in lab.stages],
        "attempt": 0 if state is RunState.QUEUED else 1,
        "device": None if state is RunState.QUEUED else "cpu",
        "environment": {"device": "cpu", "device_name": "A slow CPU"},
        "cause": "diverged" if state is RunState.FAILED else None,
        "started_at": None if state is RunState.QUEUED else started,
        "finished_at": started + timedelta(seconds=15) if is_over else None,
        "stage": "train",
        "progress_done": 5.0,
        "progress_total": float(STEPS),
    }
    run = make_run(session, owner, **{**defaults, **values})
    if state is RunState.QUEUED:
        return run
    make_attempt(session, run, started_at=started, finished_at=run.finished_at)
    figures = METHODS[method]
    store.append(session, run.id, 1, _rows(*figures, is_over=state is RunState.SUCCEEDED))
    table = {**DATA_TABLE, "rows": [["train", 0.0], ["test", 0.0]]}
    lifecycle.append_events(session, run.id, 1, [("table", table)])
    if state is RunState.SUCCEEDED:
        session.add(_artifact(run, int(figures[2])))
    session.flush()
    return run


def _rows(
    accuracy: float, share: float, size: float, peak: float, seconds: float, is_over: bool
) -> list[store.MetricRow]:
    rows = [
        store.MetricRow(0, 0.0, {"model/trainable_fraction": share, "model/trainable_parameters": share * 1.8e6}),
        store.MetricRow(0, 0.0, {"eval/accuracy": 0.02, "eval/perplexity": 30.0}),
    ]  # fmt: skip
    for step in range(1, STEPS + 1):
        values = {
            "train/loss": 3.0 / step,
            "time/step_seconds": seconds,
            "throughput/tokens_per_second": 900 / seconds,
            "memory/peak_bytes": peak,
        }
        if step == STEPS // 2:
            values |= {"eval/accuracy": accuracy, "eval/perplexity": 1 + (1 - accuracy)}
        rows.append(store.MetricRow(step, float(step), values))
    # After the best state, which is the one that is kept.
    rows.append(
        store.MetricRow(STEPS, 30.0, {"eval/accuracy": accuracy - 0.1, "eval/perplexity": 3.0})
    )
    if is_over:
        measured = {
            "artifact/bytes": size,
            "test/accuracy": accuracy - 0.01,
            "test/base_accuracy": 0.03,
            "latency/p50_seconds": 0.02 + seconds / 10,
        }
        rows.append(store.MetricRow(STEPS, 40.0, measured))
    return rows


def _artifact(run: Run, size: int) -> Artifact:
    return Artifact(
        run_id=run.id, name="adapter", kind="adapter", path="artifacts/adapter", bytes=size,
        sha256="cd" * 32, step=STEPS // 2, attempt=1, created_at=clock.now(),
    )  # fmt: skip
