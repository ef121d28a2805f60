"""A run that ran out of memory: where its memory went, what it had, and which shapes would fit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.models import Run
from app.runs.causes import Step
from app.runs.choices import taken_bytes
from app.runs.costs import MEMORY_CAUSES
from app.runs.next_steps import Next
from app.runs.parts import Part, parts_of
from app.runs.resubmit import Place, place_of

Json = dict[str, Any]
# As PyTorch says it, on a GPU ("Tried to allocate 20.00 MiB") and on a CPU
# ("you tried to allocate 8388608 bytes").
ASKED = re.compile(r"tried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", re.IGNORECASE)
UNITS = {"bytes": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


@dataclass(frozen=True, slots=True)
class Coach:
    """The memory terms of one configuration and what to try. Rendered by runs/show/_coach.html.

    `asked` is the allocation that failed, where torch named it; `wanted` is what was in use and
    that; `had` is what was reserved.
    """

    parts: Sequence[Part]
    predicted: int
    asked: int | None
    used: int
    wanted: int
    had: int
    scale: int
    place: Place | None
    options: Sequence[Next]


def coach_of(session: Session, run: Run, steps: Sequence[Next]) -> Coach | None:
    """The coach of a run that ended for lack of memory."""
    if run.cause not in MEMORY_CAUSES or not run.state.is_over:
        return None
    parts = parts_of(run.estimate.get("parts", {}))
    predicted = sum(part.bytes for part in parts)
    asked = asked_bytes((run.reason or {}).get("message", ""))
    used = taken_bytes(run)
    wanted = used + (asked or 0)
    return Coach(
        parts=parts,
        predicted=predicted,
        asked=asked,
        used=used,
        wanted=wanted,
        had=run.memory_bytes,
        scale=max(predicted, wanted, run.memory_bytes, 1),
        place=place_of(session, run),
        options=[each for each in steps if each.step is Step.LESS_MEMORY],
    )


def asked_bytes(message: str) -> int | None:
    """The allocation that failed, out of the words of torch."""
    found = ASKED.search(message)
    return int(float(found[1]) * UNITS[found[2].lower()]) if found else None
