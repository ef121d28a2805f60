"""What makes a comparison less fair than it looks, said in sentences. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.i18n import N_
from app.runs.reasons import reason_of

Json = dict[str, Any]

DEVICES = N_(
    "Not all were measured on the same device ({devices}): memory, speed, time and latency cannot be compared."
)
SHARED = N_(
    "Shared their device with other runs while they were measured: {methods}. Speed, time and latency would be better alone."
)
TAKEN = N_(
    "Took over a result that was measured earlier, in another run: {methods}. Its device may have been busier or less busy."
)
CODE = N_("The code of these labs has changed since they ran: {methods}. Today they may differ.")
TRUNCATION = N_(
    "Not all learned from the same text: of {methods}, rows were cut at the maximum length ({shares} of the rows)."
)
RESUMED = N_(
    "Interrupted and resumed: {methods}. Times count the steps that were kept; memory may differ."
)
STEPS = N_("Not all trained for as many steps: {methods}.")
MISSING = N_("Without a result, so out of the comparison: {methods}.")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one run, as far as a comparison depends on it.

    Attributes:
        neighbours: Whether other runs were on its device meanwhile.
        code: Version of the lab's code that ran; `code_now` is that of today.
        truncated: Share of the training rows that lost the beginning of their prompt.
    """

    method: str
    is_measured: bool = True
    device: str = ""
    neighbours: bool = False
    taken_over: bool = False
    code: str = ""
    code_now: str = ""
    truncated: float | None = None
    attempts: int = 1
    steps: int | None = None
    expected_steps: int | None = None


def warnings_of(evidence: Sequence[Evidence], over: bool) -> list[Json]:
    """Sentences {"message", "values"} about runs that were measured; `over` once all have ended."""
    measured = [each for each in evidence if each.is_measured]
    found = [
        _devices(measured),
        _some(SHARED, measured, lambda e: e.neighbours),
        _some(TAKEN, measured, lambda e: e.taken_over),
        _some(CODE, measured, lambda e: e.code != e.code_now),
        _truncation(measured),
        _some(RESUMED, measured, lambda e: e.attempts > 1),
        _some(STEPS, measured, lambda e: e.steps != e.expected_steps, _with_steps),
        _some(MISSING, evidence, lambda e: over and not e.is_measured),
    ]
    return [each for each in found if each is not None]


def _devices(measured: Sequence[Evidence]) -> Json | None:
    names = list(dict.fromkeys(each.device for each in measured if each.device))
    return reason_of(DEVICES, devices=", ".join(names)) if len(names) > 1 else None


def _truncation(measured: Sequence[Evidence]) -> Json | None:
    """Only where some rows were cut in some runs and not as many in others."""
    known = [each for each in measured if each.truncated is not None]
    if len({each.truncated for each in known}) < 2:
        return None
    cut = [each for each in known if each.truncated]
    shares = ", ".join(f"{each.truncated:.1%}" for each in cut)
    return reason_of(TRUNCATION, methods=_names(cut), shares=shares)


def _some(
    message: str,
    evidence: Sequence[Evidence],
    is_so: Callable[[Evidence], bool],
    told: Callable[[Evidence], str] = lambda each: each.method,
) -> Json | None:
    found = [each for each in evidence if is_so(each)]
    return reason_of(message, methods=", ".join(map(told, found))) if found else None


def _with_steps(each: Evidence) -> str:
    return f"{each.method} ({each.steps or 0}/{each.expected_steps})"


def _names(evidence: Sequence[Evidence]) -> str:
    return ", ".join(each.method for each in evidence)
