"""Runs of the labs on compression, small enough for a test."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from labs import registry, trainer
from labs.common import latency
from labs.compression.common import throughput
from labs.contract import Json
from labs.runspec import RunSpec, write_params
from labs.trainer import Outcome, StopFlag
from tests.labs.runs import make_spec

# The run's own dataset is the running text; blocks as short as its rows allow.
SMALL: Json = {
    "calibration": "",
    "calibration_samples": 4,
    "calibration_length": 32,
    "evaluation_window": 32,
    "evaluation_stride": 32,
    "max_length": 64,
}


def compression_spec(
    lab: str, model: Path, dataset: Path, params: Json, stages: Sequence[str] = ()
) -> RunSpec:
    """All stages of a lab, unless some are named, with `SMALL` and these parameters."""
    stages = stages or tuple(stage.name for stage in registry.get(lab).stages)
    return replace(make_spec(model, dataset, stages=stages, lab=lab), params={**SMALL, **params})


def compressed(folder: Path, spec: RunSpec) -> Outcome:
    """Carry out a run, timing as little as possible."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "GENERATIONS", 2)
        patch.setattr(latency, "WARMUP", 1)
        patch.setattr(throughput, "REPEATS", 1)
        patch.setattr(throughput, "NEW_TOKENS", 2)
        write_params(folder, spec)
        return trainer.run_attempt(folder, StopFlag())
