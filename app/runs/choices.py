"""What a run that has ended can be started again as, by name."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from app.i18n import N_
from app.models import Run
from app.runs.costs import MEMORY_CAUSES
from labs import registry
from labs.contract import Lab, LabError, Params
from labs.variants import Variant, calmer_changes, memory_changes, shorter_changes, trains

Json = dict[str, Any]
SAME, MORE_MEMORY, CONTINUE = "same", "more_memory", "continue"
# A run that was ended at its reservation may have wanted anything beyond it.
MORE_THAN_IT_HAD, MORE_THAN_IT_TOOK = 1.5, 1.25


@dataclass(frozen=True, slots=True)
class Choice:
    """The same work in another shape, ready to be queued."""

    name: str
    title: str
    changes: Json = field(default_factory=dict)
    reserve_bytes: int | None = None

    @property
    def continues(self) -> bool:
        """Whether it goes on from the run's last checkpoint instead of beginning."""
        return self.name == CONTINUE


def lab_and_params(run: Run) -> tuple[Lab, Params] | None:
    """The lab as it is now, with the run's parameters; None where they no longer go together."""
    try:
        lab = registry.get(run.lab)
        known = {name: run.params[name] for name in lab.params.model_fields if name in run.params}
        return lab, lab.params.model_validate(known)
    except (LabError, ValidationError):
        return None


def again() -> Choice:
    return Choice(SAME, N_("Run again, the same parameters"))


def less_memory(run: Run, params: Params) -> list[Choice]:
    """Shapes that need less, and the same with more reserved."""
    lengths = run.estimate.get("lengths")
    found = _choices(memory_changes(params, lengths["longest"] if lengths else None))
    if run.cause in MEMORY_CAUSES:
        title = N_("The same, with more memory reserved")
        found.append(Choice(MORE_MEMORY, title, reserve_bytes=_more(run)))
    return found


def calmer(params: Params) -> list[Choice]:
    return _choices(calmer_changes(params))


def shorter(run: Run, params: Params) -> list[Choice]:
    """As many steps as there was time for."""
    total = run.progress_total if run.stage == "train" else 0
    reached = int(run.progress_done) if total else 0
    return _choices(shorter_changes(params, reached))


def continuing(run: Run, params: Params) -> list[Choice]:
    """From its checkpoint, while the lab's code is the one that wrote it."""
    same_code = run.code_version == registry.code_version(run.lab)
    if not same_code or not trains(params):
        return []
    return [Choice(CONTINUE, N_("Continue from the last checkpoint"))]


def find_choice(run: Run, params: Params, name: str) -> Choice | None:
    """The choice of that name, of all that a run of these parameters offers."""
    offered = (
        again(),
        *less_memory(run, params),
        *calmer(params),
        *shorter(run, params),
        *continuing(run, params),
    )
    return next((choice for choice in offered if choice.name == name), None)


def taken_bytes(run: Run) -> int:
    """The most that a run was seen to take."""
    return run.peak_memory_bytes or 0


def _more(run: Run) -> int:
    return int(max(run.memory_bytes * MORE_THAN_IT_HAD, taken_bytes(run) * MORE_THAN_IT_TOOK))


def _choices(variants: Iterator[Variant]) -> list[Choice]:
    return [Choice(name, title, changes) for name, title, changes in variants]
