"""Deploy without merging: one base, many tasks, and how long it takes to switch between them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from labs.common.agreement import agree, compared_prompts, largest_difference, logits
from labs.common.artifacts import folder_bytes, require_artifact
from labs.common.data import prepare
from labs.common.guides import guide
from labs.common.loading import DTYPES, load_tokenizer
from labs.common.memory import synchronize
from labs.common.other_task import other_task
from labs.common.peft_tuning import ADAPTER
from labs.common.stages.merge import show_sizes
from labs.common.tuning import Tuning
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts

T = TypeVar("T")
OTHER = "other"
SWITCHES = 200


class Tasks(Protocol):
    """One base in memory, and what several tasks learned for it."""

    @property
    def model(self) -> nn.Module:
        """The base with the task that is in use."""

    def add(self, folder: Path, name: str) -> None:
        """Load what one more task learned."""

    def use(self, name: str) -> None:
        """From now on the model does this task."""


class PeftTasks:
    """Adapters of peft on one base."""

    def __init__(self, base: PreTrainedModel, folder: Path) -> None:
        self.model = PeftModel.from_pretrained(base, folder).eval()

    def add(self, folder: Path, name: str) -> None:
        """Load one more adapter beside those that are there."""
        self.model.load_adapter(str(folder), name)

    def use(self, name: str) -> None:
        """Make an adapter the active one."""
        self.model.set_adapter(name)


def switch(
    tuning: Tuning[Any, Any],
    run: LabContext,
    artifact: str = "adapter",
    tasks: Callable[[PreTrainedModel, Path], Tasks] = PeftTasks,
) -> Json:
    """Load one base and two tasks beside it, switch between them, and prove that nothing is lost.

    Reads an artifact that the run left. Leaves what a new task costs: its bytes, the time to
    load it, the time to make it the active one, and the latency against the base; all of it
    also as the artifact `guide`.

    Args:
        tuning: The method.
        run: Where to read and save.
        artifact: The artifact to load; the second task has its size and other numbers.
        tasks: Puts the first task on a base; it is called `ADAPTER`.

    Raises:
        LabError: If the model says something else after switching away and back.
    """
    folder = require_artifact(run, artifact, "train")
    data = prepare(run.dataset, load_tokenizer(run.base_model), tuning.params.max_length)
    prompts = compared_prompts(data)
    run.progress(1, 3, "loading the base model")
    base_seconds, base = _timed(run, lambda: tuning.load_base(run))
    served = tasks(base, folder)
    before = logits(served.model, prompts, run.device)
    run.progress(2, 3, "switching between two tasks")
    with other_task(folder) as other:
        task_seconds, _ = _timed(run, lambda: served.add(other, OTHER))
    served.use(OTHER)
    if largest_difference(before, logits(served.model, prompts, run.device)) == 0:
        raise AssertionError("the model says the same with another task in use")

    def there_and_back() -> None:
        for number in range(SWITCHES):
            served.use((OTHER, ADAPTER)[number % 2])

    seconds, _ = _timed(run, there_and_back)
    after = logits(served.model, prompts, run.device)
    agree(before, after, DTYPES[tuning.params.precision]).require(
        "After switching to another task and back a logit differs by {difference}, more than the {tolerance} that rounding explains."
    )
    measured = {"switch/seconds": seconds / SWITCHES}
    run.log(int(run.result("train").get("steps", 0)), measured)
    _show_switch(run, measured["switch/seconds"], task_seconds, base_seconds)
    show_sizes(run, {artifact: folder_bytes(folder), "base": read_facts(run.base_model).bytes})
    overhead = _show_overhead(run)
    _write_guide(tuning, run, measured["switch/seconds"], task_seconds, base_seconds, folder)
    run.progress(3, 3, "done")
    return {
        **measured,
        "load_task_seconds": task_seconds,
        "load_base_seconds": base_seconds,
        **overhead,
    }


def _show_switch(run: LabContext, switch: float, task: float, base: float) -> None:
    columns = [Column("what", "What"), Column("seconds", "Time", "s")]
    rows = [
        [N_("Switch to another task that is loaded"), switch],
        [N_("Load one more task"), task],
        [N_("Load the base model, for comparison"), base],
    ]
    run.table("switch", "One base, many tasks", columns, rows)


def _show_overhead(run: LabContext) -> Json:
    """What cannot be merged costs at every token: both arms of the inference stage side by side."""
    measured = run.result("inference")
    tuned, base = measured.get("latency/mean_seconds"), measured.get("latency/base_mean_seconds")
    if not tuned or not base:
        return {}
    columns = [
        Column("model", "Model"),
        Column("mean", "Mean", "s"),
        Column("against", "Against the base", "fraction"),
        Column("bar", "Time"),
    ]
    slowest = max(tuned, base)
    rows = [["Base", base, 1.0, base / slowest], ["Tuned", tuned, tuned / base, tuned / slowest]]
    run.table("overhead", "What it costs at every answer", columns, rows)
    return {"latency/overhead": tuned / base - 1}


def _write_guide(
    tuning: Tuning[Any, Any],
    run: LabContext,
    switch: float,
    task: float,
    base: float,
    kept: Path,
) -> None:
    inference = run.result("inference")
    measured: dict[str, tuple[float | None, str]] = {
        "The base model": (read_facts(run.base_model).bytes, "bytes"),
        "One more task": (folder_bytes(kept), "bytes"),
        "Load the base model": (base, "s"),
        "Load one more task": (task, "s"),
        "Switch to a task that is loaded": (switch, "s"),
        "An answer of the base, mean": (inference.get("latency/base_mean_seconds"), "s"),
        "An answer with the task, mean": (inference.get("latency/mean_seconds"), "s"),
    }
    known = {what: (value, unit) for what, (value, unit) in measured.items() if value is not None}
    inside = tuning.params.tokens_before > 0
    text = guide(tuning.lab, run, known, tuning.serving(run.base_model_name), inside)
    with run.artifact("guide", "guide") as folder:
        (folder / "README.md").write_text(text, encoding="utf-8")


def _timed(run: LabContext, act: Callable[[], T]) -> tuple[float, T]:
    synchronize(run.device)
    started = time.perf_counter()
    made = act()
    synchronize(run.device)
    return time.perf_counter() - started, made
