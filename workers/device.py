"""The worker of one device: registers it, keeps its trainers warm, and answers its bells."""

import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from celery.signals import worker_ready, worker_shutting_down

from app.errors import Conflict
from app.runs.dispatch import fill_devices
from app.settings import Settings, get_settings
from workers import hardware, main, orphans
from workers.hardware import GPU, Hardware
from workers.presence import Presence
from workers.supervise import Bench, carry_out
from workers.trainers import Forge, trainer_environment

log = logging.getLogger(__name__)


def serve(device_name: str, make_forge: Callable[[Mapping[str, str]], Forge] = Forge) -> int:
    """Own a device (`cpu` or `cuda:N`) until SIGTERM; returns the exit code.

    On SIGTERM no new run starts; those on the device save a checkpoint and go back to the
    queue, within the grace of the settings.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    settings = get_settings()  # before the environment loses its secrets
    # Until Celery takes the signal over: an end at any moment is an orderly one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with owned(settings, device_name):
        device = hardware.find(device_name)
        slots = slots_of(device, settings)
        threads = max(1, hardware.cores() // slots)
        online = settings.hub == "online"
        forge = make_forge(trainer_environment(device.visible, threads, online))
        presence = Presence(device_name, device, slots)
        presence.register()
        orphans.sweep(device_name)
        try:
            with presence.told_regularly():
                bench = Bench(device_name, device, forge, threading.Event())
                return _answer(bench, presence, slots)
        finally:
            orphans.hand_back(device_name)


def _answer(bench: Bench, presence: Presence, slots: int) -> int:
    bench.forge.warm()

    def start(**_: Any) -> None:
        log.info("%s: ready for %d runs at once", bench.device, slots)
        presence.set_ready(True)
        fill_devices()

    def stop(**_: Any) -> None:
        log.info("%s: stopping; its runs are asked to save and go back to the queue", bench.device)
        bench.draining.set()
        # Not here: a signal handler must not wait for the database.
        threading.Thread(target=presence.set_ready, args=(False,)).start()

    def attempt(run_id: UUID, number: int) -> None:
        carry_out(bench, run_id, number)

    worker_ready.connect(start, weak=False)
    worker_shutting_down.connect(stop, weak=False)
    return main.consume(main.worker_app(attempt), bench.device, slots)


def slots_of(device: Hardware, settings: Settings) -> int:
    """How many runs a device takes at once; on the CPU not more than there are cores."""
    if device.kind == GPU:
        return settings.device_slots
    return max(1, min(settings.device_slots, hardware.cores()))


@contextmanager
def owned(settings: Settings, device_name: str) -> Iterator[None]:
    """One worker for a device of this machine; the kernel takes the claim back when it ends."""
    folder = settings.home / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{socket.gethostname()}-{device_name.replace(':', '-')}.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "A worker for {device} already runs on this machine (process {pid}). Stop it first.",
                device=device_name,
                pid=path.read_text() or "unknown",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)
