"""The faults: what is done to a box, and how it is put right again."""

import json
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from resource import RLIMIT_FSIZE

from app.database import transaction
from app.models import OVER, Device, RunState, User
from app.runs import lifecycle
from labs.contract import Cause
from tests.faults.box import DEVICE
from tests.faults.patience import eventually, hold
from tests.faults.phases import (
    DEPLOY,
    PHASES,
    SAVING,
    TRAIN,
    Phase,
    Scene,
)
from tests.support.processes import is_alive
from workers import orphans

FAULT = "fault"
SQLITE, POSTGRES = "sqlite", "postgres"
Deed = Callable[[Scene], None]
# Longer than the lease of a box, and than the socket timeout of a worker's broker connection.
PAST_THE_LEASE_SECONDS = 6.0
# Longer than a writer waits for SQLite before it is told that the database is locked.
PAST_THE_BUSY_TIMEOUT_SECONDS = 11.0
# The trainer's events fit in; what it saves does not.
ROOM_BYTES = 100_000
EVERY_PHASE = frozenset(PHASES)
WITH_TRAINER = frozenset(phase for phase in PHASES if phase.has_trainer)


def _nothing(scene: Scene) -> None:
    """The box heals by itself, or when the run is over."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the matrix."""

    name: str
    act: Deed
    heal: Deed = _nothing
    phases: frozenset[Phase] = EVERY_PHASE
    elsewhere: str = ""  # why the other phases do not have it
    databases: tuple[str, ...] = (SQLITE,)
    causes: frozenset[Cause] = frozenset()
    ends: frozenset[RunState] = frozenset({RunState.SUCCEEDED})
    # Checkpoints of which at most one interval each may be lost.
    lost_checkpoints: int = 1

    def __str__(self) -> str:
        return self.name


def _kill_trainer(scene: Scene) -> None:
    assert scene.trainer is not None
    scene.trainer.kill()


def _freeze_trainer(scene: Scene) -> None:
    """It never comes back by itself: its supervisor must notice that nothing is heard of it."""
    assert scene.trainer is not None
    attempt = scene.attempt
    scene.trainer.suspend()
    scene.undo.append(lambda: scene.leave(attempt))


def _undo(scene: Scene) -> None:
    for step in scene.undo:
        step()


def _freeze_worker_and_trainer(scene: Scene) -> None:
    """As when a machine sleeps: the housekeeper gives the run away, and the sleeper wakes up."""
    scene.box.freeze(scene.box.worker, FAULT)
    trainer = scene.trainer
    if trainer is not None:
        trainer.suspend()
    _wait_until_given_back(scene)
    if trainer is not None:
        trainer.resume()
    scene.box.worker.thaw(FAULT)


def _wait_until_given_back(scene: Scene) -> None:
    if scene.state is RunState.QUEUED:  # it has nothing to lose yet
        hold(PAST_THE_LEASE_SECONDS)
        return
    eventually(lambda: scene.state is RunState.QUEUED, "the lease was not over")


def _kill_worker(scene: Scene) -> None:
    scene.box.worker.kill()


def _kill_worker_and_wait(scene: Scene) -> None:
    """Nobody is there to end what it left, which stands at its gate: it must end by itself."""
    _kill_worker(scene)
    trainer = scene.trainer
    eventually(lambda: trainer is None or not is_alive(trainer), "the trainer outlived its worker")


def _start_worker(scene: Scene) -> None:
    scene.box.worker.ensure()
    scene.box.wait_for_the_worker()


def _start_worker_after_the_lease(scene: Scene) -> None:
    _wait_until_given_back(scene)
    _start_worker(scene)


def _freeze_worker(scene: Scene) -> None:
    """Its trainer goes on alone meanwhile."""
    scene.box.freeze(scene.box.worker, FAULT)


def _thaw_worker_after_the_lease(scene: Scene) -> None:
    _wait_until_given_back(scene)
    scene.box.worker.thaw(FAULT)


def _kill_housekeeper(scene: Scene) -> None:
    scene.box.housekeeper.kill()


def _start_housekeeper(scene: Scene) -> None:
    scene.box.housekeeper.ensure()


def _freeze_housekeeper(scene: Scene) -> None:
    scene.box.freeze(scene.box.housekeeper, FAULT)


def _thaw_housekeeper(scene: Scene) -> None:
    hold(PAST_THE_LEASE_SECONDS)
    scene.box.housekeeper.thaw(FAULT)


def _restart_web(scene: Scene) -> None:
    scene.box.web.kill()
    scene.box.web.ensure()


def _kill_redis(scene: Scene) -> None:
    """And nobody starts it again before the run is over."""
    scene.box.redis.kill()


def _freeze_redis(scene: Scene) -> None:
    scene.box.redis.signal(signal.SIGSTOP)


def _thaw_redis(scene: Scene) -> None:
    hold(PAST_THE_LEASE_SECONDS)
    scene.box.redis.signal(signal.SIGCONT)


def _empty_redis(scene: Scene) -> None:
    scene.box.redis.empty()


def _flush_redis(scene: Scene) -> None:
    scene.box.redis.flush()


def _restart_postgres(number: signal.Signals) -> Deed:
    def restart(scene: Scene) -> None:
        assert scene.box.postgres is not None
        scene.box.postgres.stop(number)
        scene.box.postgres.start()

    return restart


def _cut_connections(scene: Scene) -> None:
    assert scene.box.postgres is not None
    scene.box.postgres.cut_connections()


def _lock_sqlite(scene: Scene) -> None:
    file = scene.box.database_url.removeprefix("sqlite:///")
    is_locked = threading.Event()

    def keep_locked() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            is_locked.set()
            hold(PAST_THE_BUSY_TIMEOUT_SECONDS)

    holder = threading.Thread(target=keep_locked, name="lock")
    holder.start()
    is_locked.wait()
    scene.undo.append(holder.join)


def _fill_the_disk(scene: Scene) -> None:
    """No file of this trainer may become long; that of the next attempt finds room again."""
    assert scene.trainer is not None
    scene.trainer.rlimit(RLIMIT_FSIZE, (ROOM_BYTES, ROOM_BYTES))


def _tear_the_checkpoint(scene: Scene) -> None:
    """As a disk that wrote the name of a file and not all of its content."""
    _kill_trainer(scene)
    newest = max((scene.run_dir / "checkpoints").glob("step-*"))
    with max(newest.iterdir(), key=lambda path: path.stat().st_size).open("r+b") as file:
        file.truncate(4096)


def _cut_the_power_and_boot(scene: Scene) -> None:
    """At once one after the other: while there is no power, nobody can do anything else."""
    _cut_the_power(scene)
    _boot(scene)


def _cut_the_power(scene: Scene) -> None:
    box = scene.box
    for role in box.roles:
        role.kill()
    if scene.trainer is not None and scene.trainer.is_running():
        scene.trainer.kill()
    box.redis.kill()
    if box.postgres is not None:
        box.postgres.kill()


def _boot(scene: Scene) -> None:
    """The same disk, and another boot: what was written down of the old one says so."""
    if scene.box.postgres is not None:
        scene.box.postgres.ensure()
    with transaction() as session:
        session.get_one(Device, DEVICE).boot_id = "the boot before"
    noted = scene.run_dir / orphans.FILE
    if noted.exists():
        noted.write_text(json.dumps({**json.loads(noted.read_text()), "boot": "the boot before"}))
    scene.box.redis.ensure()
    for role in scene.box.roles:
        role.ensure()
    scene.box.wait_for_the_worker()


def _cancel(scene: Scene) -> None:
    """The trainer stands at its gate until it is asked to stop, and ends there."""
    owner = scene.box.person()
    with transaction() as session:
        lifecycle.request_cancel(session, scene.run_id, session.get_one(User, owner.id))
    scene.wait_for(*OVER)


KILLED = frozenset({Cause.KILLED})
LOST = frozenset({Cause.LOST_WORKER})
BOTH = (SQLITE, POSTGRES)

WORKER_KILLED = Fault(
    "device worker killed", _kill_worker, _start_worker, databases=BOTH, causes=LOST
)
POWER_LOSS = Fault(
    "power cut", _cut_the_power_and_boot, databases=BOTH, causes=frozenset({Cause.HOST_RESTARTED})
)
TRAINER_KILLED = Fault(
    "trainer killed", _kill_trainer, phases=WITH_TRAINER, elsewhere="no trainer yet",
    databases=BOTH, causes=KILLED,
)  # fmt: skip

FAULTS = (
    TRAINER_KILLED,
    Fault(
        "trainer frozen for good", _freeze_trainer, _undo, WITH_TRAINER, "no trainer yet",
        causes=frozenset({Cause.NO_PROGRESS}),
    ),
    Fault(
        "worker and trainer asleep past the lease", _freeze_worker_and_trainer, databases=BOTH,
        causes=LOST,
    ),
    WORKER_KILLED,
    Fault(
        "device worker killed, back after the lease", _kill_worker_and_wait, _start_worker_after_the_lease,
        causes=LOST,
    ),
    Fault(
        "device worker frozen past the lease", _freeze_worker, _thaw_worker_after_the_lease,
        causes=LOST,
    ),
    Fault("housekeeper killed", _kill_housekeeper, _start_housekeeper),
    Fault("housekeeper frozen", _freeze_housekeeper, _thaw_housekeeper),
    Fault("web server killed and started", _restart_web),
    Fault("Redis killed, and never back", _kill_redis),
    Fault("Redis frozen", _freeze_redis, _thaw_redis),
    Fault("Redis back and empty", _empty_redis),
    Fault("Redis flushed", _flush_redis),
    Fault("Postgres restarted (fast)", _restart_postgres(signal.SIGINT), databases=(POSTGRES,)),
    Fault("Postgres restarted (immediate)", _restart_postgres(signal.SIGQUIT), databases=(POSTGRES,)),
    Fault("Postgres connections cut", _cut_connections, databases=(POSTGRES,)),
    # Longer than a lease, too: whoever is first to write again may be the housekeeper.
    Fault("SQLite locked for 11 s", _lock_sqlite, _undo, causes=LOST),
    Fault(
        "disk full", _fill_the_disk, phases=frozenset({SAVING, TRAIN, DEPLOY}),
        elsewhere="nothing large is written", causes=frozenset({Cause.DISK_FULL}),
    ),
    Fault(
        "newest checkpoint torn", _tear_the_checkpoint, phases=frozenset({TRAIN, SAVING}),
        elsewhere="no checkpoint is read", causes=KILLED, lost_checkpoints=2,
    ),
    POWER_LOSS,
    Fault("cancelled by its owner", _cancel, ends=frozenset({RunState.CANCELLED}), databases=BOTH),
)  # fmt: skip
