"""A run directory as the `LabContext` of its stages. Imports no torch."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labs.contract import Axis, Column, Json, PlotStyle, Series, Stopped
from labs.disk import DiskFull
from labs.events import EventLog
from labs.published import is_whole, publishing, read_manifest, sweep
from labs.runspec import RunSpec

CHECKPOINTS_KEPT = 2
PUBLISHED = ("checkpoints", "artifacts")


class DirectoryContext:
    """Carries what a stage says into the run directory."""

    def __init__(
        self, run_dir: Path, spec: RunSpec, events: EventLog, stopping: Callable[[], bool]
    ) -> None:
        self.run_dir = run_dir
        self.seed = spec.seed
        self.attempt = spec.attempt
        self.device: str = spec.device
        # A run that goes on from another one's model starts from that.
        base = spec.parent or spec.base_model
        self.base_model = Path(base.path)
        self.base_model_name = base.name
        self.dataset = Path(spec.dataset.path)
        self.dataset_name = spec.dataset.name
        self.stage = ""
        self._spec = spec
        self._events = events
        self._stopping = stopping
        self.ending = ExitStack()
        for folder in ("stages", *PUBLISHED):
            (run_dir / folder).mkdir(parents=True, exist_ok=True)
        sweep_all(run_dir)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        numbers = {key: float(value) for key, value in values.items()}
        self._events.write("metrics", step=step, values=numbers)

    def progress(self, done: float, total: float, note: str = "") -> None:
        self._events.progress(self.stage, done, total, note)

    def table(
        self, name: str, title: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        shown = [asdict(column) for column in columns]
        self._events.write("table", name=name, title=title, columns=shown, rows=rows)

    def samples(
        self, name: str, title: str, columns: Sequence[Column], rows: Sequence[Json]
    ) -> None:
        shown = [asdict(column) for column in columns]
        self._events.write("samples", name=name, title=title, columns=shown, rows=rows)

    def heatmap(
        self,
        name: str,
        title: str,
        x: Sequence[str],
        y: Sequence[str],
        values: Sequence[Sequence[float | None]],
        unit: str = "",
    ) -> None:
        self._events.write("heatmap", name=name, title=title, x=x, y=y, values=values, unit=unit)

    def plot(
        self,
        name: str,
        title: str,
        x: Axis,
        y: Axis,
        series: Sequence[Series],
        style: PlotStyle = "line",
    ) -> None:
        told = {"x": asdict(x), "y": asdict(y), "series": [asdict(each) for each in series]}
        self._events.write("plot", name=name, title=title, style=style, **told)

    def resource(self, parameter: str) -> Path | None:
        named = self._spec.resources.get(parameter)
        return Path(named.path) if named else None

    def endpoint(self, state: str, **told: Any) -> None:
        self._events.write("endpoint", state=state, **told)

    @contextmanager
    def artifact(self, name: str, kind: str, step: int = 0) -> Iterator[Path]:
        target = self.run_dir / "artifacts" / name
        facts = {"name": name, "kind": kind, "step": step, "attempt": self.attempt}
        with publishing(target, facts) as folder:
            yield folder
        manifest = read_manifest(target)
        assert manifest is not None, f"{target} was published without a manifest"
        self._events.write(
            "artifact",
            name=name,
            artifact_kind=kind,
            path=f"artifacts/{name}",
            bytes=manifest["bytes"],
            sha256=manifest["sha256"],
            step=step,
        )
        self._events.sync()

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        # Metrics up to this step must not be lost while the checkpoint is kept.
        self._events.sync()
        name = f"step-{step:08d}"
        facts = {"name": name, "kind": "checkpoint", "step": step, "attempt": self.attempt}
        target = self.run_dir / "checkpoints" / name
        try:
            with publishing(target, facts) as folder:
                save(folder)
        except DiskFull as full:
            raise self._not_saved(step) from full
        self._events.write("checkpoint", step=step, path=f"checkpoints/{name}")
        self._events.sync()
        for old in self._checkpoints()[CHECKPOINTS_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        for folder in self._checkpoints():
            manifest = read_manifest(folder)
            if manifest is not None and is_whole(folder):
                return int(manifest["step"]), folder
        return None

    def resumed(self, step: int) -> None:
        self._events.write("resumed", step=step)

    def at_end(self, close: Callable[[], object]) -> None:
        self.ending.callback(close)

    def check_stop(self) -> None:
        if self._stopping():
            raise Stopped

    def stopping(self) -> bool:
        return self._stopping()

    def result(self, stage: str) -> Json:
        summary = stored_result(self.run_dir, stage)
        return {} if summary is None else summary

    def _not_saved(self, step: int) -> DiskFull:
        found = self.latest_checkpoint()
        if found is None:
            return DiskFull(
                "The disk is full: the checkpoint of step {step} was not saved.", step=step
            )
        return DiskFull(
            "The disk is full: the checkpoint of step {step} was not saved, that of step {kept} is kept.",
            step=step,
            kept=found[0],
        )

    def _checkpoints(self) -> list[Path]:
        return sorted((self.run_dir / "checkpoints").glob("step-*"), reverse=True)


def sweep_all(run_dir: Path) -> None:
    """Leave what is whole in a run directory whose trainer is gone."""
    for folder in PUBLISHED:
        sweep(run_dir / folder)


def stored_result(run_dir: Path, stage: str) -> Json | None:
    """What a completed stage returned, or None if it has not completed."""
    path = run_dir / "stages" / f"{stage}.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    summary = stored.get("result") if isinstance(stored, dict) else None
    return summary if isinstance(summary, dict) else None


def store_result(run_dir: Path, stage: str, summary: Json, seconds: float) -> None:
    """Note that a stage has completed; later attempts skip it."""
    path = run_dir / "stages" / f"{stage}.json"
    beside = path.with_name(f".{stage}.new")
    content = {"stage": stage, "seconds": seconds, "result": summary}
    beside.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    beside.replace(path)
