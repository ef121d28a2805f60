"""`python -m tests.faults.real cpu` is a device worker whose trainers really train.

They stop at the gates of `tests.faults.gate`, told by their own events and by the files they open.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from labs.contract import Json
from labs.trainer import PRELOAD, StopFlag, run_attempt
from setup.commands import die_with_parent
from tests.faults.gate import Gate
from tests.faults.trainer import serve
from workers.trainers import Forge

# Between the second and the third evaluation of the run in `test_real`.
TRAIN_STEP = 5


def train(run_dir: str) -> None:
    """What `labs.trainer.main` does, with somebody who listens."""
    os.setsid()
    die_with_parent()
    stop = StopFlag()
    signal.signal(signal.SIGTERM, stop.set)
    folder = Path(run_dir)
    gate = Gate(folder, stop)

    def listen(event: Json) -> None:
        gate.reach(place_of(event))

    outcome = run_attempt(folder, stop, listen)
    os._exit(0 if outcome.outcome == "succeeded" else 1)


def place_of(event: Json) -> str:
    """The place in the run's life that an event tells of."""
    if event["kind"] == "stage" and event["status"] == "started":
        return str({"train": "train starts"}.get(event["stage"], event["stage"]))
    if event["kind"] == "metrics" and event["step"] == TRAIN_STEP:
        return "train"
    return "finishing" if event["kind"] == "end" else "elsewhere"


def forge(environment: Mapping[str, str]) -> Forge:
    return Forge(environment, train, preload=(*PRELOAD, "tests.faults.real"))


if __name__ == "__main__":
    from tests.faults import real

    sys.exit(serve(sys.argv[1], real.forge))
