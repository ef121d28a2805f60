"""A run stage by stage, by hand: what a notebook does. Imports no torch at the top."""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labs import registry
from labs.choices import choose_resources
from labs.console import Console
from labs.contract import Json, Params
from labs.events import EventLog
from labs.rundir import DirectoryContext, store_result
from labs.runspec import Device, Resource, RunSpec, write_params
from labs.trainer import prepare_process


class Session:
    """Runs the stages of one lab in this process and shows what they say."""

    def __init__(
        self,
        lab: str,
        params: Params,
        model: Path,
        dataset: Path,
        folder: Path,
        seed: int = 0,
        device: Device = "cpu",
        threads: int | None = None,
    ) -> None:
        found = registry.get(lab)
        self.params = params
        base = Resource(model.name, str(model.absolute()))
        spec = RunSpec(
            run_id=folder.name,
            attempt=1,
            lab=lab,
            stages=tuple(stage.name for stage in found.stages),
            params=params.model_dump(mode="json"),
            seed=seed,
            device=device,
            threads=threads or _threads(),
            base_model=base,
            dataset=Resource(dataset.stem, str(dataset.absolute())),
            resources=choose_resources(found, params, base),
        )
        write_params(folder, spec)
        prepare_process(spec)
        self._events = EventLog(folder, spec.attempt, Console(found, sys.stdout))
        self._run = DirectoryContext(folder, spec, self._events, stopping=lambda: False)

    def run(self, stage: Callable[[Any, Any], Json]) -> Json:
        """Carry out one stage, named as its function, and give its summary."""
        name = stage.__name__
        self._run.stage = name
        started = time.monotonic()
        summary = stage(self.params, self._run)
        store_result(self._run.run_dir, name, summary, time.monotonic() - started)
        self._events.sync()
        return summary


def _threads() -> int:
    """As many as torch uses by itself."""
    importlib.import_module("labs.preload")
    return int(importlib.import_module("torch").get_num_threads())
