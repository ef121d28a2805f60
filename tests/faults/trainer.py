"""A trainer without torch whose every value is known, with a gate at each place of its life.

`python -m tests.faults.trainer cpu` is a device worker whose trainers are this one. It uses the
real run directory: what it saves, publishes and resumes from is written as a lab writes it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labs.contract import LabError, Stopped
from labs.disk import give_up_reserve, keep_reserve
from labs.events import EventLog
from labs.rundir import DirectoryContext, store_result, stored_result
from labs.runspec import RunSpec, read_params
from labs.trainer import StopFlag
from setup.commands import die_with_parent
from tests.faults.gate import Gate
from workers.trainers import Forge

STAGES = ("setup", "train", "inference", "deploy")
STEPS, INTERVAL = 20, 5
# More than a full disk takes (`catalogue.ROOM_BYTES`), and many 4 KiB pages to be torn at.
WEIGHTS = b"w" * 200_000
# Before there is a checkpoint, and between two.
PLACES = {3: "first steps", 13: "train"}
Json = dict[str, Any]


def value(key: str, step: int) -> float:
    """What every trainer logs at this step, in whatever attempt."""
    return len(key) + 1 / (1 + step)


def points() -> dict[str, dict[int, float]]:
    """What an undisturbed run leaves: each key, step and value."""
    logged = {
        "setup/parameters": (0,),
        "eval/loss": range(0, STEPS + 1, INTERVAL),
        "train/loss": range(1, STEPS + 1),
        "inference/loss": (STEPS,),
        "deploy/bytes": (STEPS,),
    }
    return {key: {step: value(key, step) for step in steps} for key, steps in logged.items()}


class Stages:
    """What a lab does, without doing it."""

    def __init__(self, run: DirectoryContext, gate: Gate) -> None:
        self.run = run
        self.gate = gate

    def log(self, step: int, *keys: str) -> None:
        self.run.log(step, {key: value(key, step) for key in keys})

    def setup(self) -> Json:
        self.log(0, "setup/parameters")
        self.gate.reach("setup")
        return {}

    def train(self) -> Json:
        found = self.run.latest_checkpoint()
        if found is None:
            self.log(0, "eval/loss")
        else:
            self.run.resumed(found[0])
        for step in range(found[0] + 1 if found else 1, STEPS + 1):
            self._step(step)
        return {"steps": STEPS}

    def _step(self, step: int) -> None:
        self.log(step, "train/loss")
        self.run.progress(step, STEPS)
        if step in PLACES:
            self.gate.reach(PLACES[step])
        if step % INTERVAL == 0:
            self.log(step, "eval/loss")
        if step % INTERVAL == 0 or self.run.stopping():
            self.run.checkpoint(step, save)
        self.run.check_stop()

    def inference(self) -> Json:
        self.log(STEPS, "inference/loss")
        self.gate.reach("inference")
        self.run.check_stop()
        return {}

    def deploy(self) -> Json:
        with self.run.artifact("adapter", "adapter", STEPS) as folder:
            save(folder)
            self.gate.reach("deploy")
            self.run.check_stop()
            (folder / "merged").write_bytes(WEIGHTS)
        self.log(STEPS, "deploy/bytes")
        return {}


def save(folder: Path) -> None:
    (folder / "weights").write_bytes(WEIGHTS)


def train(run_dir: str) -> None:
    """What `labs.trainer.main` does, without training anything."""
    os.setsid()
    die_with_parent()
    stop = StopFlag()
    signal.signal(signal.SIGTERM, stop.set)
    folder = Path(run_dir)
    spec = read_params(folder)
    gate = Gate(folder, stop)
    gate.reach("starting")
    events = EventLog(folder, spec.attempt)
    keep_reserve(folder)
    end = perform(folder, spec, events, stop, gate)
    give_up_reserve(folder)
    events.write("end", **end)
    gate.reach("finishing")
    events.close()
    os._exit(0 if end["outcome"] == "succeeded" else 1)


def perform(
    folder: Path, spec: RunSpec, events: EventLog, stop: StopFlag, gate: Gate
) -> dict[str, Any]:
    try:
        events.write("environment", device=spec.device)
        stages = Stages(DirectoryContext(folder, spec, events, stop), gate)
        for name in spec.stages:
            with announced(stages.run, events, name) as is_wanted:
                if is_wanted:
                    store_result(folder, name, getattr(stages, name)(), 0.0)
    except Stopped:
        return {"outcome": "stopped"}
    except LabError as error:
        told = {"message": error.message, "values": error.values, "traceback": ""}
        return {"outcome": "failed", "cause": error.cause.value, **told}
    return {"outcome": "succeeded"}


@contextmanager
def announced(run: DirectoryContext, events: EventLog, name: str) -> Iterator[bool]:
    if stored_result(run.run_dir, name) is not None:
        events.write("stage", stage=name, status="skipped")
        yield False
        return
    run.check_stop()
    run.stage = name
    events.write("stage", stage=name, status="started")
    yield True
    events.write("stage", stage=name, status="completed", seconds=0.0)


def forge(environment: Mapping[str, str]) -> Forge:
    return Forge(environment, train, preload=("tests.faults.preload",))


def serve(device: str, make_forge: Callable[[Mapping[str, str]], Forge]) -> int:
    from workers import device as worker

    return worker.serve(device, make_forge)


if __name__ == "__main__":
    from tests.faults import trainer

    sys.exit(trainer.serve(sys.argv[1], trainer.forge))
