"""A process that was killed and does not end: its device is taken out of service until it has."""

import logging
import threading
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.database import reading, transaction
from app.devices.health import set_fault, tell_fault_over
from app.i18n import N_
from app.models import Device
from app.runs.reasons import reason_of
from workers import orphans
from workers.duty import Duty

log = logging.getLogger(__name__)
Json = dict[str, Any]
LOOK_SECONDS = 1.0
# The key of a fault that names the process; while it is there, nobody can resume the device.
PROCESS = "process"


def fault_of(process: Json) -> Json:
    """The fault of a device on which this process does not end."""
    told = N_(
        "Process {pid} was killed and does not end. Nothing starts here until it has; only a "
        "restart of the machine may help."
    )
    return {**reason_of(told, pid=process["pid"]), PROCESS: process}


def over_of(process: Json) -> Json:
    """The same fault when the process has ended at last."""
    told = N_("Process {pid} took long to end after it was killed. It is gone: you can resume.")
    return reason_of(told, pid=process["pid"])


def break_down(duty: Duty, device: str, process: Json) -> None:
    """Take the device out of service, and watch for the end of the process."""
    duty.break_down(fault_of(process))
    watch(device, process)


def tell(duty: Duty, device: str) -> None:
    """Write the fault down now; the presence would only at its next beat."""
    if fault := duty.untold_fault:
        with transaction() as session:
            set_fault(session, device, fault)
        duty.told(fault)


def take_up(duty: Duty, device: str) -> None:
    """At a worker's start: go on watching for what an earlier worker could not end."""
    with reading() as session:
        fault = session.get_one(Device, device).fault or {}
    if process := fault.get(PROCESS):
        duty.break_down(fault)
        duty.told(fault)
        watch(device, process)


def watch(device: str, process: Json) -> None:
    """Tell the device's row, from a thread of its own, when the process has ended."""
    threading.Thread(target=_watch, args=(device, process), name="undead", daemon=True).start()


def _watch(device: str, process: Json) -> None:
    pause = threading.Event()
    while orphans.is_alive(process) or not _tell_over(device, process):
        pause.wait(LOOK_SECONDS)
    log.warning("%s: process %d is gone at last", device, process["pid"])


def _tell_over(device: str, process: Json) -> bool:
    try:
        with transaction() as session:
            row = session.get(Device, device, with_for_update=True)
            if row is not None and (row.fault or {}).get(PROCESS) == process:
                tell_fault_over(session, device, over_of(process))
    except SQLAlchemyError:
        log.warning("%s: not told yet: the database is busy or away", device)
        return False
    return True
