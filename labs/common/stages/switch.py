"""Deploy without merging: one base, many tasks, and how long it takes to switch between them."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from peft import PeftModel

from labs.common.artifacts import folder_bytes, require_artifact
from labs.common.memory import synchronize
from labs.common.peft_tuning import ADAPTER
from labs.common.stages.merge import show_sizes
from labs.common.tuning import Tuning
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts

T = TypeVar("T")
OTHER = "other"
SWITCHES = 200


def switch(tuning: Tuning[Any, PeftModel], run: LabContext, artifact: str = "adapter") -> Json:
    """Load one base and two tasks beside it, and switch between them.

    Reads the artifact of peft's layout. Leaves what a new task costs: its bytes, the time to
    load it and the time to make it the active one.
    """
    folder = require_artifact(run, artifact, "train")
    run.progress(1, 3, "loading the base model")
    base_seconds, base = _timed(run, lambda: tuning.load_base(run))
    model = PeftModel.from_pretrained(base, folder)
    run.progress(2, 3, "switching between two tasks")
    task_seconds, _ = _timed(run, lambda: model.load_adapter(str(folder), OTHER))

    def there_and_back() -> None:
        for number in range(SWITCHES):
            model.set_adapter((OTHER, ADAPTER)[number % 2])

    seconds, _ = _timed(run, there_and_back)
    measured = {"switch/seconds": seconds / SWITCHES}
    columns = [Column("what", "What"), Column("seconds", "Time", "s")]
    rows = [
        [N_("Switch to another task that is loaded"), measured["switch/seconds"]],
        [N_("Load one more task"), task_seconds],
        [N_("Load the base model, for comparison"), base_seconds],
    ]
    run.table("switch", "One base, many tasks", columns, rows)
    show_sizes(run, {artifact: folder_bytes(folder), "base": read_facts(run.base_model).bytes})
    run.log(int(run.result("train").get("steps", 0)), measured)
    run.progress(3, 3, "done")
    return {**measured, "load_task_seconds": task_seconds, "load_base_seconds": base_seconds}


def _timed(run: LabContext, act: Callable[[], T]) -> tuple[float, T]:
    synchronize(run.device)
    started = time.perf_counter()
    made = act()
    synchronize(run.device)
    return time.perf_counter() - started, made
