"""What a lab is, and how its stages talk to the world. Imports no torch.

A lab is data (`Lab`) plus one function a stage. The stage sees its parameters and a
`LabContext`; everything it says goes through that context into the run directory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from labs.models import ModelFacts

Json = dict[str, Any]
Direction = Literal["lower", "higher", "none"]
Chapter = Literal["training", "compression"]


# Artifacts that are whole models, so that a further run can start from them.
WHOLE_MODELS = frozenset({"merged", "model"})


def N_(text: str) -> str:
    """Mark a text that a stage puts in a cell: pages translate it where they show it."""
    return text


class Params(BaseModel):
    """Parameters of a lab: parsed once, then passed around unchanged.

    Each field carries `title`, `description`, its range, and in `json_schema_extra`
    its `unit` and whether it is `basic`. Form, API, command line, notebook and stored
    run all read it from here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


ResourceKind = Literal["model", "dataset"]


def resource_kinds(params: type[Params]) -> dict[str, ResourceKind]:
    """The parameters that name a further model or dataset, such as a teacher, and which of both.

    Such a field is a text with `resource` in its `json_schema_extra`: the name or id of a model in
    the library, of a run that left a whole model, or of a dataset; empty for none.
    """
    extras = {name: field.json_schema_extra for name, field in params.model_fields.items()}
    return {
        name: extra["resource"]  # type: ignore[misc]  # pydantic types these as any JSON
        for name, extra in extras.items()
        if isinstance(extra, dict) and "resource" in extra
    }


class Cause(StrEnum):
    """Why a run ended other than by succeeding. Every end has exactly one."""

    OUT_OF_MEMORY = "out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    KILLED = "killed"
    DIVERGED = "diverged"
    NO_PROGRESS = "no_progress"
    DISK_FULL = "disk_full"
    BAD_DATA = "bad_data"
    LAB_ERROR = "lab_error"
    LAB_CRASHED = "lab_crashed"
    TOO_MANY_PROCESSES = "too_many_processes"
    LOST_WORKER = "lost_worker"
    HOST_RESTARTED = "host_restarted"
    HARDWARE_FAULT = "hardware_fault"
    TIME_LIMIT = "time_limit"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    DRAINED = "drained"
    DEVICE_TOO_SMALL = "device_too_small"
    REPEATED_FAILURE = "repeated_failure"


class LabError(Exception):
    """A failure the student can act on.

    The sentence is a template and its values stand apart, so that a page can translate
    it: `LabError("Rank {rank} is larger than {size}.", rank=512, size=256)`. `parameter`
    names the one to change, where there is one: a form marks it.
    """

    cause = Cause.LAB_ERROR

    def __init__(self, message: str, *, parameter: str = "", **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.parameter = parameter
        self.values = values

    def __str__(self) -> str:
        return self.message.format(**self.values)


class BadData(LabError):
    """The dataset cannot serve this lab."""

    cause = Cause.BAD_DATA


class Diverged(LabError):
    """The loss became not-a-number or infinite."""

    cause = Cause.DIVERGED


class Stopped(Exception):
    """Somebody asked the run to stop; what can be kept has been saved."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One series a lab logs. `unit` is empty for a pure number."""

    key: str
    title: str
    unit: str = ""
    direction: Direction = "none"


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a lab, carried out by the function that `target` names."""

    name: str
    title: str
    summary: str
    target: str

    def load(self) -> Callable[[Any, LabContext], Json]:
        """Import the function behind `target` ("package.module:function"); this may load torch."""
        module, _, function = self.target.partition(":")
        loaded: Callable[[Any, LabContext], Json] = getattr(
            importlib.import_module(module), function
        )
        return loaded


@dataclass(frozen=True, slots=True)
class Source:
    """A publication a lab is built on."""

    authors: str
    title: str
    year: int
    arxiv: str


def _accepts_any_model(facts: ModelFacts, params: Params) -> LabError | None:
    return None


def _accepts_any_format(form: str, params: Params) -> LabError | None:
    return None


def _goes_with_anything(
    folder: Path, params: Params, resources: Mapping[str, Path]
) -> LabError | None:
    return None


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a lab takes: dataset formats, parent artifacts, and which base models.

    `refuse` says why a model cannot serve these parameters, or None. It reads a model's
    `config.json` only, so it answers before a run is queued. `refuse_format` says the same of
    the format of a dataset, where the parameters narrow `formats`. `refuse_together` says why the
    folder of the base model does not go with the resources that parameters name (`resource_kinds`).
    """

    formats: frozenset[str]
    parents: frozenset[str] = frozenset()
    refuse: Callable[[ModelFacts, Any], LabError | None] = _accepts_any_model
    refuse_format: Callable[[str, Any], LabError | None] = _accepts_any_format
    refuse_together: Callable[[Path, Any, Mapping[str, Path]], LabError | None] = (
        _goes_with_anything
    )


@dataclass(frozen=True, slots=True)
class Lab:
    """A taught method: its parameters, stages, metrics, and what goes in and comes out."""

    slug: str
    chapter: Chapter
    title: str
    summary: str
    params: type[Params]
    stages: tuple[Stage, ...]
    metrics: tuple[Metric, ...]
    accepts: Accepts
    produces: tuple[str, ...]
    headline: str
    default_model: str
    default_dataset: str
    sources: tuple[Source, ...] = ()
    presets: Mapping[str, Json] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        """The stage of that name; raises `LabError` for an unknown one."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise LabError(
            "This lab has no stage “{stage}”. It has: {known}.",
            stage=name,
            known=", ".join(stage.name for stage in self.stages),
        )

    def metric(self, key: str) -> Metric:
        """The declared metric of that key, or one that says nothing but its name."""
        return next((m for m in self.metrics if m.key == key), Metric(key, key))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that a stage shows."""

    key: str
    title: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a plot."""

    title: str
    unit: str = ""
    log: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One line, row of bars, or cloud of points of a plot; None leaves a gap.

    `labels` name the points, where each of them is something of its own.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    labels: Sequence[str] = ()


PlotStyle = Literal["line", "bars", "points"]


class LabContext(Protocol):
    """A stage's only way to the world."""

    run_dir: Path
    seed: int
    attempt: int
    device: str
    base_model: Path
    base_model_name: str
    dataset: Path
    dataset_name: str

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record metric points of one step (an optimizer update; 0 is the baseline)."""

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the current stage is, in its own units."""

    def table(
        self, name: str, title: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Show a table on the run page; the same name replaces the earlier one."""

    def samples(
        self, name: str, title: str, columns: Sequence[Column], rows: Sequence[Json]
    ) -> None:
        """Show prompts with answers side by side."""

    def heatmap(
        self,
        name: str,
        title: str,
        x: Sequence[str],
        y: Sequence[str],
        values: Sequence[Sequence[float | None]],
        unit: str = "",
    ) -> None:
        """Show a matrix as colours; `values[row][column]`, rows along `y`."""

    def plot(
        self,
        name: str,
        title: str,
        x: Axis,
        y: Axis,
        series: Sequence[Series],
        style: PlotStyle = "line",
    ) -> None:
        """Show lines, bars (a histogram) or points on the run page."""

    def resource(self, parameter: str) -> Path | None:
        """The folder or file that a parameter names (`resource_kinds`); None where it is empty."""

    def endpoint(self, state: str, **told: Any) -> None:
        """Say how the endpoint of a serving run stands: "starting", "testing", "open", "closed"."""

    def artifact(self, name: str, kind: str, step: int = 0) -> AbstractContextManager[Path]:
        """A folder to fill; it becomes visible whole, with its manifest, or not at all."""

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """Keep a state to resume from; written beside, synced, then renamed into place."""

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """Step and folder of the newest checkpoint whose manifest holds."""

    def resumed(self, step: int) -> None:
        """Say that training continues after this step; later points are superseded."""

    def at_end(self, close: Callable[[], object]) -> None:
        """Call this when the stages of this attempt are over, however they end; the last one first."""

    def check_stop(self) -> None:
        """Raise `Stopped` if somebody asked the run to stop."""

    def stopping(self) -> bool:
        """Whether somebody asked the run to stop."""

    def result(self, stage: str) -> Json:
        """What an earlier stage of this run returned."""
