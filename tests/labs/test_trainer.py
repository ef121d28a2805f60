"""Whole attempts: how each ends, what a second one skips, and the process of its own."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from labs import trainer
from labs.common import latency
from labs.contract import Cause, Diverged, Json
from labs.events import read_events
from labs.peft.lora import stages as lora_stages
from labs.rundir import store_result
from labs.runspec import write_params
from labs.trainer import Outcome, StopFlag, run_attempt
from tests.labs.runs import events_of, make_spec

TUNERS = {
    f"peft.tuners.{name}" for name in ("lora", "ia3", "prompt_tuning", "prefix_tuning", "p_tuning")
}


@pytest.fixture(autouse=True)
def few_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "GENERATIONS", 3)


def attempt(run_dir: Path, spec: Any) -> Outcome:
    write_params(run_dir, spec)
    return run_attempt(run_dir, StopFlag())


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> Json:
        raise error

    monkeypatch.setattr(lora_stages, "train", fail)


def test_a_completed_stage_is_skipped_by_the_next_attempt(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    attempt(tmp_path, make_spec(tiny_model, tiny_dataset, stages=["setup"]))
    attempt(tmp_path, make_spec(tiny_model, tiny_dataset, stages=["setup", "train"], attempt=2))
    second = [e for e in events_of(tmp_path, "stage") if e["attempt"] == 2]
    assert [(e["stage"], e["status"]) for e in second] == [
        ("setup", "skipped"),
        ("train", "started"),
        ("train", "completed"),
    ]


def test_a_stage_without_its_artifact_says_which_stage_makes_it(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    outcome = attempt(tmp_path, make_spec(tiny_model, tiny_dataset, stages=["deploy"]))
    assert outcome.cause is Cause.LAB_ERROR
    assert outcome.values == {"name": "adapter", "stage": "train"}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), Cause.OUT_OF_MEMORY),
        (MemoryError(), Cause.HOST_OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Cause.HOST_OUT_OF_MEMORY),
        (OSError(28, "No space left on device"), Cause.DISK_FULL),
        (ValueError("{braces} in a message"), Cause.LAB_CRASHED),
    ],
)
def test_every_failure_ends_with_its_name(
    tiny_model: Path,
    tiny_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    cause: Cause,
) -> None:
    fail_with(monkeypatch, error)
    attempt(tmp_path, make_spec(tiny_model, tiny_dataset, stages=["train"]))
    end = list(read_events(tmp_path))[-1]
    assert (end["outcome"], end["cause"]) == ("failed", cause)
    assert type(error).__name__ in end["message"].format(**end.get("values", {}))
    assert "Traceback" in end["traceback"]


def test_a_broken_dataset_is_bad_data(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{bad\n")
    outcome = attempt(tmp_path / "run", make_spec(tiny_model, broken))
    assert outcome.cause is Cause.BAD_DATA


def test_a_pickle_is_refused_by_whichever_stage_comes_first(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    unsafe = Path(shutil.copytree(tiny_model, tmp_path / "unsafe"))
    (unsafe / "model.safetensors").rename(unsafe / "pytorch_model.bin")
    outcome = attempt(tmp_path / "run", make_spec(unsafe, tiny_dataset, stages=["train"]))
    assert outcome.cause is Cause.LAB_ERROR
    assert "pickled weights only" in outcome.message


def test_parameters_that_do_not_hold_are_named(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    outcome = attempt(tmp_path, make_spec(tiny_model, tiny_dataset, {"rank": 0}))
    assert outcome.cause is Cause.LAB_ERROR
    assert outcome.values["name"] == "rank"


def test_a_failure_of_the_lab_keeps_its_cause_and_its_template(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, Diverged("NaN at step {step}.", step=7))
    attempt(tmp_path, make_spec(tiny_model, tiny_dataset, stages=["train"]))
    end = list(read_events(tmp_path))[-1]
    assert (end["cause"], end["message"], end["values"]) == (
        "diverged",
        "NaN at step {step}.",
        {"step": 7},
    )


def test_being_asked_to_stop_is_no_failure(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    write_params(tmp_path, make_spec(tiny_model, tiny_dataset))
    stop = StopFlag()
    stop.set()
    assert run_attempt(tmp_path, stop) == Outcome("stopped")
    assert list(read_events(tmp_path))[-1]["outcome"] == "stopped"


def test_a_quantized_base_trains_and_merges_into_the_full_one(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    small = {"base_quantization": "nf4", "double_quantization": True}
    outcome = attempt(tmp_path, make_spec(tiny_model, tiny_dataset, small))
    assert outcome == Outcome("succeeded")
    weights = load_file(tmp_path / "artifacts" / "merged" / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}


@pytest.mark.faults
def test_a_trainer_of_its_own_stops_at_sigterm_and_goes_on(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([*trainer.PRELOAD])
    long = {"steps": 100_000, "evaluation_interval": 5}
    write_params(tmp_path, make_spec(tiny_model, tiny_dataset, long, stages=["train"]))
    child = processes.Process(target=trainer.main, args=(str(tmp_path),))
    child.start()
    try:
        wait_for_step(tmp_path, 5, child)
        assert child.pid is not None
        # Who stops a worker signals its group, the forkserver with it; the trainer must outlive that.
        os.kill(psutil.Process(child.pid).ppid(), signal.SIGTERM)
        os.kill(child.pid, signal.SIGTERM)
        child.join(timeout=20)
        assert child.exitcode == 1
    finally:
        child.kill()
    *_, checkpoint, end = read_events(tmp_path)
    assert end["outcome"] == "stopped"
    assert checkpoint["kind"] == "checkpoint"
    assert (tmp_path / checkpoint["path"] / "manifest.json").exists()


def wait_for_step(run_dir: Path, step: int, child: Any) -> None:
    """Poll, by joining the child for moments, until training has come so far."""
    for _ in range(600):
        if any(event["step"] >= step for event in events_of(run_dir, "metrics")):
            return
        child.join(timeout=0.1)
        assert child.is_alive(), (run_dir / "output.log").read_text()
    raise AssertionError("the trainer made no progress")


def test_starting_the_trainer_module_loads_no_torch() -> None:
    code = "import labs.trainer, labs.runner, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_trainers_import_has_every_tuner_and_leaves_signals_alone() -> None:
    code = (
        "import signal, sys, labs.preload; print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL);"
        f"print({TUNERS} - set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "set()"]


def test_summaries_are_stored_as_json(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    store_result(tmp_path, "train", {"eval/loss": 0.5}, 1.0)
    assert json.loads((tmp_path / "stages" / "train.json").read_text())["result"] == {
        "eval/loss": 0.5
    }
