"""What each cause of an end means to the person whose run it was, and what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.i18n import N_
from labs.contract import Cause


class Step(StrEnum):
    """A kind of next step; app/runs/next_steps.py makes buttons of it."""

    AGAIN = "again"
    CHANGE = "change"
    LESS_MEMORY = "less_memory"
    CALMER = "calmer"
    SHORTER = "shorter"
    CONTINUE = "continue"
    DATASET = "dataset"
    REPORT = "report"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cause in words. `retried` says whether the run goes back to the queue by itself."""

    title: str
    advice: str
    retried: bool = False
    steps: Sequence[Step] = (Step.AGAIN, Step.CHANGE)


# In place of the usual words of `CANCELLED`, for a run that never was on a device.
NEVER_STARTED = Explanation(
    N_("The run was cancelled before it had started."),
    N_("Nothing was computed, and it counts for nothing."),
)
CAUSES: Mapping[Cause, Explanation] = {
    Cause.OUT_OF_MEMORY: Explanation(
        N_("The device ran out of memory."),
        N_("Choose a shape that needs less; each is ready to start."),
        steps=(Step.LESS_MEMORY, Step.CHANGE),
    ),
    Cause.HOST_OUT_OF_MEMORY: Explanation(
        N_("The machine ran out of memory."),
        N_("Choose a shape that needs less; each is ready to start."),
        steps=(Step.LESS_MEMORY, Step.CHANGE),
    ),
    Cause.KILLED: Explanation(
        N_("The process was stopped from outside."),
        N_("It continues from its last checkpoint. If it happens again, tell your instructor."),
        retried=True,
    ),
    Cause.DIVERGED: Explanation(
        N_("The loss became not-a-number or infinite."),
        N_("Lower the learning rate, add warm-up, or clip gradients."),
        steps=(Step.CALMER, Step.CHANGE),
    ),
    Cause.NO_PROGRESS: Explanation(
        N_("The run made no progress for a long time and was stopped."),
        N_("Look at the end of the log, then run it again."),
        retried=True,
    ),
    Cause.DISK_FULL: Explanation(
        N_("The disk is full. The last complete checkpoint was kept."),
        N_("It waits and continues by itself once an admin has made room."),
        retried=True,
    ),
    Cause.BAD_DATA: Explanation(
        N_("The dataset cannot serve this lab."),
        N_("Correct the rows that are named and upload the file again."),
        steps=(Step.DATASET, Step.CHANGE),
    ),
    Cause.LAB_ERROR: Explanation(
        N_("The lab stopped with a message for you."),
        N_("Change what the message names and run it again."),
        steps=(Step.CHANGE, Step.AGAIN),
    ),
    Cause.LAB_CRASHED: Explanation(
        N_("The lab crashed. This is a fault of the lab, not yours."),
        N_("The log has the details for your instructor."),
        steps=(Step.REPORT, Step.AGAIN, Step.CHANGE),
    ),
    Cause.LOST_WORKER: Explanation(
        N_("The worker that carried the run out disappeared."),
        N_("The run continues from its last checkpoint on the next free device."),
        retried=True,
    ),
    Cause.TOO_MANY_PROCESSES: Explanation(
        N_("The run started more processes or threads than it may."),
        N_("Look at the end of the log for what started them, then run it again."),
        steps=(Step.CHANGE, Step.REPORT),
    ),
    Cause.HOST_RESTARTED: Explanation(
        N_("The machine that carried the run out was restarted."),
        N_("The run continues from its last checkpoint on the next free device."),
        retried=True,
    ),
    Cause.HARDWARE_FAULT: Explanation(
        N_("The device has a hardware fault. This is not your code."),
        N_("The run goes back to the queue; an admin has to look at the device."),
        retried=True,
    ),
    Cause.TIME_LIMIT: Explanation(
        N_("The run reached its time limit."),
        N_("Use fewer steps, or ask your instructor for more time."),
        steps=(Step.CONTINUE, Step.SHORTER, Step.CHANGE),
    ),
    Cause.CANCELLED: Explanation(
        N_("The run was cancelled."),
        N_("What it had measured and saved until then is kept."),
    ),
    Cause.PREEMPTED: Explanation(
        N_("The run made room for others and waits for its next turn."),
        N_("It continues from its checkpoint."),
        retried=True,
    ),
    Cause.DRAINED: Explanation(
        N_("The device was taken out of service."),
        N_("The run continues from its checkpoint on another device."),
        retried=True,
    ),
    Cause.DEVICE_TOO_SMALL: Explanation(
        N_("No device here is large enough for this run."),
        N_("Use a smaller base model, a smaller batch or a quantized base."),
        steps=(Step.LESS_MEMORY, Step.CHANGE),
    ),
    Cause.REPEATED_FAILURE: Explanation(
        N_("The run failed the same way three times and is held."),
        N_("An instructor has to look at it and release it."),
        steps=(Step.RELEASE, Step.CHANGE, Step.REPORT),
    ),
}
