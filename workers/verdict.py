"""How an attempt ended, as one value: out of its last event, its exit code and what we did to it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.i18n import N_
from app.models import RunState
from app.runs.reasons import reason_of
from labs.contract import Cause

Json = dict[str, Any]
MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")


class Stop(StrEnum):
    """Why the supervisor stopped a trainer."""

    CANCEL = "cancel"
    PREEMPT = "preempt"
    DRAIN = "drain"
    NO_PROGRESS = "no_progress"
    TIME_LIMIT = "time_limit"
    FAULT = "fault"  # of the device
    DISK = "disk"
    MEMORY = "memory"
    TASKS = "tasks"

    @property
    def is_sudden(self) -> bool:
        """Whether there is no time for a checkpoint."""
        return self in (Stop.MEMORY, Stop.TASKS)


@dataclass(frozen=True, slots=True)
class Halt:
    """A decision to stop a trainer, with its sentence where it has one of its own."""

    stop: Stop
    why: Json | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An end of the run or a wait in `held` (`state`), or a return to the queue (no state)."""

    cause: Cause | None
    state: RunState | None = None
    reason: Json | None = None


def judge(
    end: Json | None,
    exit_code: int,
    stop: Stop | None,
    step: int,
    host_oom: bool,
    why: Json | None = None,
) -> Verdict:
    """Name the end of an attempt.

    Args:
        end: The trainer's own last event, if it came to write one.
        exit_code: Of the trainer; negative for a signal.
        stop: Why we stopped it, if we did.
        step: The last step that was logged.
        host_oom: Whether the kernel killed something for memory meanwhile.
        why: The sentence of the stop, if it has one of its own.
    """
    if end and end["outcome"] == "succeeded":
        return Verdict(None, RunState.SUCCEEDED)
    if end and end["outcome"] == "failed" and not (stop is Stop.FAULT and _may_be_hardware(end)):
        return _failed(end)
    if stop is not None:
        return _stopped(stop, why)
    if exit_code == -signal.SIGKILL and host_oom:
        told = N_("The machine ran out of memory at step {step}, and the run was killed.")
        return Verdict(Cause.HOST_OUT_OF_MEMORY, RunState.FAILED, reason_of(told, step=step))
    if exit_code < 0 or end is not None:
        number = -exit_code if exit_code < 0 else int(signal.SIGTERM)
        told = N_("Stopped unexpectedly (signal {signal}) at step {step}.")
        return Verdict(Cause.KILLED, None, reason_of(told, signal=number, step=step))
    told = N_("The process ended (code {code}) without saying how. The log has the details.")
    return Verdict(Cause.LAB_CRASHED, RunState.FAILED, reason_of(told, code=exit_code))


def _failed(end: Json) -> Verdict:
    known = {cause.value for cause in Cause}
    cause = Cause(end["cause"]) if end["cause"] in known else Cause.LAB_CRASHED
    reason = {"message": _template(end), "values": end["values"], "traceback": end["traceback"]}
    # What was saved is kept, and the run goes on when there is room again.
    state = RunState.HELD if cause is Cause.DISK_FULL else RunState.FAILED
    return Verdict(cause, state, reason)


def _may_be_hardware(end: Json) -> bool:
    """A broken device shows as a crash of whatever used it; a lab's own sentence is the lab's."""
    return end["cause"] in ("", Cause.LAB_CRASHED, Cause.OUT_OF_MEMORY)


def _template(end: Json) -> str:
    """The sentence of a lab, or itself with its braces escaped where its values do not fill it."""
    message: str = end["message"]
    try:
        message.format(**end["values"])
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        return message.replace("{", "{{").replace("}", "}}")
    return message


def _stopped(stop: Stop, why: Json | None) -> Verdict:
    if stop is Stop.CANCEL:
        return Verdict(Cause.CANCELLED, RunState.CANCELLED)
    cause, state, told = STOPPED[stop]
    return Verdict(cause, state, why or reason_of(told))


STOPPED: Mapping[Stop, tuple[Cause, RunState | None, str]] = {
    Stop.PREEMPT: (
        Cause.PREEMPTED,
        None,
        N_("Made room for others whose turn came first. It continues where it stopped."),
    ),
    Stop.DRAIN: (
        Cause.DRAINED,
        None,
        N_("Its device was taken out of service. It continues where it stopped."),
    ),
    Stop.FAULT: (
        Cause.HARDWARE_FAULT,
        None,
        N_("Its device broke down. It continues from its last checkpoint on another one."),
    ),
    Stop.NO_PROGRESS: (
        Cause.NO_PROGRESS,
        None,
        N_("Nothing was heard from the run for too long, so it was stopped."),
    ),
    Stop.TIME_LIMIT: (
        Cause.TIME_LIMIT,
        RunState.FAILED,
        N_("Stopped at the time limit. Its last checkpoint is kept."),
    ),
    Stop.DISK: (
        Cause.DISK_FULL,
        RunState.HELD,
        N_("The disk is nearly full. It continues from its checkpoint when there is room."),
    ),
    Stop.MEMORY: (
        Cause.HOST_OUT_OF_MEMORY,
        RunState.FAILED,
        N_("It used more memory than it had."),
    ),
    Stop.TASKS: (
        Cause.TOO_MANY_PROCESSES,
        RunState.FAILED,
        N_("It had more processes and threads than it may."),
    ),
}


def oom_kills(path: Path = MEMORY_EVENTS) -> int:
    """How often the kernel has killed in our control group for memory; 0 where it does not say."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split() for line in lines if len(line.split()) == 2)
    return int(counts.get("oom_kill", 0))
