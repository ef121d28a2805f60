"""Run directories for tests, with real events in real files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labs.contract import Json
from labs.events import EventLog, read_events
from labs.rundir import DirectoryContext
from labs.runspec import Resource, RunSpec, write_params

SMALL: Json = {"steps": 4, "evaluation_interval": 2, "batch_size": 4, "max_length": 64}
STAGES = ("setup", "train", "inference", "deploy")


def make_spec(
    model: Path,
    dataset: Path,
    params: Json | None = None,
    stages: Sequence[str] = STAGES,
    attempt: int = 1,
    **changes: Any,
) -> RunSpec:
    own: Json = {"rank": 4} if changes.get("lab", "lora") == "lora" else {}
    given: Json = {
        "run_id": "run",
        "attempt": attempt,
        "lab": "lora",
        "stages": tuple(stages),
        "params": {**SMALL, **own, **(params or {})},
        "seed": 0,
        "device": "cpu",
        "threads": 1,
        "base_model": Resource(model.name, str(model)),
        "dataset": Resource(dataset.stem, str(dataset)),
    }
    return RunSpec(**{**given, **changes})


def make_context(
    run_dir: Path, spec: RunSpec, stopping: Callable[[], bool] = lambda: False
) -> DirectoryContext:
    write_params(run_dir, spec)
    return DirectoryContext(run_dir, spec, EventLog(run_dir, spec.attempt), stopping)


def events_of(run_dir: Path, kind: str) -> list[Json]:
    return [event for event in read_events(run_dir) if event["kind"] == kind]


def losses(run_dir: Path, attempt: int | None = None) -> dict[int, Any]:
    """Training loss of each step, later attempts winning."""
    return {
        event["step"]: event["values"]["train/loss"]
        for event in events_of(run_dir, "metrics")
        if "train/loss" in event["values"] and attempt in (None, event["attempt"])
    }
