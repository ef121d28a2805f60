"""The worker of one device: registers it, keeps its trainers warm, and carries its runs out."""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from app.children import START_AGAIN
from app.runs.dispatch import fill_devices
from app.settings import Settings, get_settings
from workers import hardware, main, orphans, undead
from workers.claims import owned
from workers.desk import Desk
from workers.duty import Duty
from workers.hardware import GPU, Hardware
from workers.lookout import Lookout
from workers.presence import Presence
from workers.supervise import Bench, carry_out
from workers.trainers import Forge, trainer_environment

log = logging.getLogger(__name__)


def serve(
    device_name: str,
    make_forge: Callable[[Mapping[str, str]], Forge] = Forge,
    name: str | None = None,
) -> int:
    """Own a device (`cpu` or `cuda:N`) until SIGTERM; returns the exit code.

    On SIGTERM no new run starts; those on the device save a checkpoint and go back to the
    queue, within the grace of the settings.

    Args:
        device_name: Which hardware of this machine.
        make_forge: What makes its trainers.
        name: What the device is called on pages, where it is not its own name.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    settings = get_settings()  # before the environment loses its secrets
    # Until there is something to end in order: an end at any moment is an orderly one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with owned(settings, name or device_name):
        device = hardware.find(device_name)
        slots = slots_of(device, settings)
        threads = max(1, hardware.cores() // slots)
        online = settings.hub == "online"
        forge = make_forge(trainer_environment(device.visible, threads, online))
        duty = Duty()
        presence = Presence(name or device_name, device, slots, duty)
        presence.register(may_rename=name is None)
        undead.take_up(duty, presence.name)
        for left in orphans.sweep(presence.name, presence.was_restarted):
            undead.break_down(duty, presence.name, left.process)
        with handed_back(presence.name), presence.told_regularly():
            bench = Bench(presence.name, device, forge, duty)
            return _work(bench, presence, slots)


def _work(bench: Bench, presence: Presence, slots: int) -> int:
    """Until SIGTERM, or until deafness makes a new start worth it."""
    bench.forge.warm()
    desk = Desk(slots, lambda run_id, attempt: carry_out(bench, run_id, attempt))
    lookout = Lookout(bench.device, bench.duty, desk)
    main.listen(main.worker_app(desk.take, bench.duty.hear), bench.device)
    with leaving_on_signal(bench.duty.leaving):
        log.info("%s: ready for %d runs at once", bench.device, slots)
        presence.set_ready(True)
        fill_devices()
        lookout.keep(bench.duty.leaving)
        was_asked = bench.duty.leaving.is_set()
        log.info("%s: %s", bench.device, "stopping" if was_asked else "deaf; starting anew")
        bench.duty.leaving.set()
        presence.stop_taking_runs()
        desk.close()
    return 0 if was_asked else START_AGAIN


@contextmanager
def leaving_on_signal(leaving: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end the worker in order; they may come more than once."""

    def leave(number: int, frame: FrameType | None) -> None:
        leaving.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    yield


@contextmanager
def handed_back(device: str) -> Iterator[None]:
    """At the end, give back what was assigned and not started; leases do it without a database."""
    try:
        yield
    finally:
        try:
            orphans.hand_back(device)
        except SQLAlchemyError:
            log.warning("%s: nothing handed back: the database is busy or away", device)


def slots_of(device: Hardware, settings: Settings) -> int:
    """How many runs a device takes at once; on the CPU not more than there are cores."""
    if device.kind == GPU:
        return settings.device_slots
    return max(1, min(settings.device_slots, hardware.cores()))
