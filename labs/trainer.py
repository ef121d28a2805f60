"""The process that runs the stages of one attempt. Nothing here imports torch at the top.

A device worker starts `main` in a child of a forkserver that has imported `PRELOAD`.
The child shares nothing with its parent but the run directory.
"""

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labs import registry
from labs.contract import Cause, Json, Lab, LabError, Params, Stopped
from labs.disk import give_up_reserve, is_disk_full, keep_reserve
from labs.events import EventLog, Listener
from labs.rundir import DirectoryContext, store_result, stored_result
from labs.runspec import RunSpec, read_params

PRELOAD = ("labs.forkserver",)
PR_SET_PDEATHSIG = 1
# From -1000 (never) to 1000 (first).
OOM_SCORE = "500"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended; becomes its last event."""

    outcome: str
    cause: Cause | None = None
    message: str = ""
    values: Json = field(default_factory=dict)
    traceback: str = ""


class StopFlag:
    """Set by SIGTERM (and by SIGINT on a command line): save what can be kept, then stop."""

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self) -> bool:
        return self.is_set

    def set(self, *_: Any) -> None:
        self.is_set = True


def main(run_dir: str) -> None:
    """Run the attempt that `params.json` describes, as a process of its own."""
    os.setsid()
    _die_with_parent()
    _die_before_others()
    folder = Path(run_dir)
    _send_output_to(folder / "output.log")
    stop = StopFlag()
    signal.signal(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    outcome = run_attempt(folder, stop)
    # Skips the teardown of torch, which can hang in a forked child.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if outcome.outcome == "succeeded" else 1)


def run_attempt(run_dir: Path, stop: StopFlag, listener: Listener | None = None) -> Outcome:
    """Run the stages in this process; every end is the last event of the log."""
    spec = read_params(run_dir)
    events = EventLog(run_dir, spec.attempt, listener)
    keep_reserve(run_dir)
    outcome = _perform(run_dir, spec, events, stop)
    give_up_reserve(run_dir)
    events.write("end", **{key: value for key, value in _fields(outcome).items() if value})
    events.close()
    return outcome


def _fields(outcome: Outcome) -> Json:
    return {
        "outcome": outcome.outcome,
        "cause": outcome.cause.value if outcome.cause else "",
        "message": outcome.message,
        "values": {key: _shown(value) for key, value in outcome.values.items()},
        "traceback": outcome.traceback,
    }


def _shown(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool)) else str(value)


def _perform(run_dir: Path, spec: RunSpec, events: EventLog, stop: StopFlag) -> Outcome:
    """Turn whatever happens into a named end. The one place that catches everything."""
    try:
        _run_stages(run_dir, spec, events, stop)
    except Stopped:
        return Outcome("stopped")
    except LabError as error:
        return Outcome("failed", error.cause, error.message, error.values, _trace())
    except Exception as error:
        traceback.print_exc()
        return Outcome("failed", _cause(error, run_dir), _first_line(error), {}, _trace())
    return Outcome("succeeded")


def _trace() -> str:
    return traceback.format_exc()[-20_000:]


def _cause(error: Exception, run_dir: Path) -> Cause:
    if _is_out_of_memory(error):
        return Cause.OUT_OF_MEMORY
    # On a CPU torch says so in words only.
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return Cause.HOST_OUT_OF_MEMORY
    if is_disk_full(error, run_dir):
        return Cause.DISK_FULL
    return Cause.LAB_CRASHED


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:500] if text else ''}".replace("{", "{{").replace(
        "}", "}}"
    )


def _run_stages(run_dir: Path, spec: RunSpec, events: EventLog, stop: StopFlag) -> None:
    lab = registry.get(spec.lab)
    params = _params(lab, spec.params)
    prepare_process(spec)
    events.write("environment", **_environment(spec))
    run = DirectoryContext(run_dir, spec, events, stop)
    with run.ending:
        for name in spec.stages:
            stage = lab.stage(name)
            if stored_result(run_dir, name) is not None:
                events.write("stage", stage=name, status="skipped")
                continue
            run.check_stop()
            run.stage = name
            _run_stage(run, name, stage.load(), params, events)


def _run_stage(
    run: DirectoryContext,
    name: str,
    function: Callable[[Any, Any], Json],
    params: Params,
    events: EventLog,
) -> None:
    events.write("stage", stage=name, status="started")
    started = time.monotonic()
    summary = function(params, run)
    seconds = time.monotonic() - started
    store_result(run.run_dir, name, summary, seconds)
    events.write("stage", stage=name, status="completed", seconds=seconds)
    events.sync()


def _params(lab: Lab, stored: Json) -> Params:
    try:
        return lab.params.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise LabError(
            "The parameter {name} cannot be used: {reason}.",
            name=".".join(map(str, first["loc"])) or "set",
            reason=first["msg"],
        ) from error


def prepare_process(spec: RunSpec) -> None:
    """Load torch and give it the threads and the memory of this run."""
    importlib.import_module("labs.preload")
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(max(1, spec.threads))
    # Unsafe only in a process forked from one that has used a tokenizer; ours never has.
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if spec.threads > 1 else "false"
    if spec.device == "cpu":
        return
    if not torch.cuda.is_available():
        raise LabError(
            "This run wants a GPU, but the trainer finds none. The worker's CUDA does not work."
        )
    if spec.memory_limit_bytes:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, spec.memory_limit_bytes / total))


def _environment(spec: RunSpec) -> Json:
    import peft
    import torch
    import transformers

    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "device": spec.device,
        "device_name": _device_name(spec),
        "threads": torch.get_num_threads(),
        "code_version": registry.code_version(spec.lab),
    }


def _device_name(spec: RunSpec) -> str:
    import torch

    if spec.device == "cuda":
        return str(torch.cuda.get_device_name(0))
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "CPU"


def _lines(path: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), Path(path).open(encoding="utf-8") as file:
        yield from file


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that forked it is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_before_others() -> None:
    """When the machine runs out of memory, Linux should end a trainer, not the database."""
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")


def _send_output_to(path: Path) -> None:
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
