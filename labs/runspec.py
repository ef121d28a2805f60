"""What a trainer is told: `params.json` of a run directory. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from labs.contract import Json, LabError

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Resource:
    """A model, dataset or artifact: the name people know, and where it lies."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One attempt at a run. `device` is "cuda" for whichever one device is visible."""

    run_id: str
    attempt: int
    lab: str
    stages: tuple[str, ...]
    params: Json
    seed: int
    device: Device
    threads: int
    base_model: Resource
    dataset: Resource
    memory_limit_bytes: int | None = None
    parent: Resource | None = None
    # What parameters name beside the base model and the dataset: {"teacher": …}.
    resources: Mapping[str, Resource] = field(default_factory=dict)
    # The Pythons of the engines' own environments that are here: {"vllm": …, "compress": …}.
    engines: Mapping[str, str] = field(default_factory=dict)
    # Where a serving run listens.
    serve_host: str = "127.0.0.1"


def write_params(run_dir: Path, spec: RunSpec) -> Path:
    """Write `params.json` whole or not at all; the run directory is made if needed."""
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "params.json"
    beside = run_dir / ".params.json.new"
    beside.write_text(json.dumps(asdict(spec), ensure_ascii=False, indent=1), encoding="utf-8")
    beside.replace(path)
    return path


def read_params(run_dir: Path) -> RunSpec:
    """Read `params.json` back; raises `LabError` when it is missing or not ours."""
    path = run_dir / "params.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return _parse(stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabError(
            "“{folder}” is no run directory: params.json cannot be read ({reason}).",
            folder=run_dir.name,
            reason=error,
        ) from error


def _parse(stored: Json) -> RunSpec:
    parent = stored["parent"]
    return RunSpec(
        **{
            **stored,
            "stages": tuple(stored["stages"]),
            "base_model": Resource(**stored["base_model"]),
            "dataset": Resource(**stored["dataset"]),
            "parent": Resource(**parent) if parent else None,
            "resources": {
                name: Resource(**each) for name, each in stored.get("resources", {}).items()
            },
        }
    )
