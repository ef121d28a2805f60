"""Where in its life a run is when a fault strikes: how a test brings it there, and lets it go on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil

from app.models import DeviceState, RunState
from app.runs.dispatch import fill_devices
from tests.faults import gate
from tests.faults.box import Box
from tests.faults.patience import eventually

PHASE = "phase"


@dataclass
class Scene:
    """One run in one box, on its way through one cell of the matrix."""

    box: Box
    run_id: UUID
    place: str
    trainer: psutil.Process | None = None
    # What a fault needs to remember until it is healed.
    undo: list[Callable[[], object]] = field(default_factory=list)

    @property
    def run_dir(self) -> Path:
        return self.box.run_dir(self.run_id)

    @property
    def state(self) -> RunState:
        return self.box.run(self.run_id).state

    @property
    def attempt(self) -> int:
        return self.box.run(self.run_id).attempt

    def wait_for(self, *states: RunState) -> None:
        eventually(lambda: self.state in states, lambda: self._still(" or ".join(states)))

    def _still(self, wanted: str) -> str:
        run, log = self.box.run(self.run_id), self.box.worker.child.tail()
        return f"{run.state} in attempt {run.attempt} ({run.reason}), not {wanted}:\n{log}\n"

    def leave(self, attempt: int) -> None:
        """Wait until this attempt no longer has the run."""
        eventually(
            lambda: (self.attempt, self.state) != (attempt, RunState.RUNNING),
            f"attempt {attempt} was not closed",
        )


@dataclass(frozen=True, slots=True)
class Phase:
    """A column of the matrix."""

    name: str
    reach: Callable[[Scene], None]
    release: Callable[[Scene], None]
    has_trainer: bool = True

    def __str__(self) -> str:
        return self.name


def _keep_queued(scene: Scene) -> None:
    assert scene.state is RunState.QUEUED


def _open_the_device(scene: Scene) -> None:
    eventually(lambda: scene.box.set_device(DeviceState.ACTIVE), "the database is away")


def _have_it_assigned(scene: Scene) -> None:
    """A worker that stands still cannot claim what it is given."""
    scene.box.freeze(scene.box.worker, PHASE)
    _open_the_device(scene)
    eventually(lambda: fill_devices() or scene.state is RunState.ASSIGNED, "nobody placed the run")
    scene.wait_for(RunState.ASSIGNED)


def _let_it_be_claimed(scene: Scene) -> None:
    scene.box.worker.thaw(PHASE)


def _go_to_the_gate(scene: Scene) -> None:
    _open_the_device(scene)
    fill_devices()
    pid = eventually(lambda: gate.reached(scene.run_dir), f"no trainer came to “{scene.place}”")
    scene.trainer = psutil.Process(pid)


def _open_the_gate(scene: Scene) -> None:
    gate.open_gate(scene.run_dir)


def _at(place: str) -> Phase:
    return Phase(place, _go_to_the_gate, _open_the_gate)


QUEUED = Phase("queued", _keep_queued, _open_the_device, has_trainer=False)
ASSIGNED = Phase("assigned", _have_it_assigned, _let_it_be_claimed, has_trainer=False)
STARTING, SETUP, FIRST_STEPS, TRAIN, SAVING, INFERENCE, DEPLOY, FINISHING = (
    _at(place)
    for place in (
        "starting", "setup", "first steps", "train", "saving", "inference", "deploy", "finishing",
    )
)  # fmt: skip
PHASES = (
    QUEUED, ASSIGNED, STARTING, SETUP, FIRST_STEPS, TRAIN, SAVING, INFERENCE, DEPLOY, FINISHING,
)  # fmt: skip
UNDISTURBED = Phase("undisturbed", _keep_queued, _open_the_device, has_trainer=False)


def bring(box: Box, phase: Phase, **values: object) -> Scene:
    """A run that waits in a device's queue that is closed, and that will stop at this phase."""
    box.set_device(DeviceState.PAUSED)
    scene = Scene(box, box.queue_run(**values), phase.name)
    gate.want(scene.run_dir, phase.name)
    return scene
