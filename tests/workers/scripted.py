"""A trainer without torch that keeps the contract of the run directory and does as it is told.

`python -m tests.workers.scripted` is a device worker whose trainers are this one. The
parameters of a run are its script.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labs.events import EventLog
from labs.runspec import read_params
from labs.trainer import StopFlag
from workers.trainers import Forge

SCRIPT: dict[str, Any] = {
    "steps": 20,
    "pause": 0.005,
    "outcome": "succeeded",
    "cause": "",
    "message": "",
    "kill_at": None,  # step at which the first attempt kills itself
    "always_kill": False,
    "deaf": False,  # ignores SIGTERM
    "checkpoint_every": 5,
}


def train(run_dir: str) -> None:
    """What `labs.trainer.main` does, without training anything."""
    os.setsid()
    stop = StopFlag()
    signal.signal(signal.SIGTERM, stop.set)
    folder = Path(run_dir)
    spec = read_params(folder)
    script = {**SCRIPT, **spec.params}
    events = EventLog(folder, spec.attempt)
    events.write("environment", device=spec.device, threads=spec.threads, secrets=secrets())
    if spec.stages:
        events.write("stage", stage=spec.stages[0], status="started")
    first = resume(folder, events)
    for step in range(first, script["steps"] + 1):
        time.sleep(script["pause"])
        if stop() and not script["deaf"]:
            finish(events, outcome="stopped")
        events.write("metrics", step=step, values={"train/loss": 1 / step})
        events.write("progress", stage="train", done=step, total=script["steps"], note="")
        if step % script["checkpoint_every"] == 0:
            save(folder, step)
        if step == script["kill_at"] and (spec.attempt == 1 or script["always_kill"]):
            os.kill(os.getpid(), signal.SIGKILL)
    finish(events, **{key: script[key] for key in ("outcome", "cause", "message") if script[key]})


def save(folder: Path, step: int) -> None:
    """Whole or not at all: a trainer may be killed at any moment."""
    beside = folder / "checkpoint.new"
    beside.write_text(str(step))
    beside.replace(folder / "checkpoint")


def resume(folder: Path, events: EventLog) -> int:
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        return 1
    step = int(checkpoint.read_text())
    events.write("resumed", step=step)
    return step + 1


def finish(events: EventLog, **end: Any) -> None:
    events.write("end", **end)
    events.close()
    os._exit(0 if end["outcome"] == "succeeded" else 1)


def secrets() -> list[str]:
    """Names in the environment that a trainer must not find there."""
    return sorted(name for name in os.environ if name.startswith(("BUNSEN_", "HF_TOKEN")))


def forge(environment: Mapping[str, str]) -> Forge:
    return Forge(environment, train, preload=("labs.trainer",))


if __name__ == "__main__":
    from tests.workers import scripted
    from workers import device

    sys.exit(device.serve(sys.argv[1], scripted.forge, *sys.argv[2:3]))
