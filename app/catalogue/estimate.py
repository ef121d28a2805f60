"""What a run would need, beside its form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.catalogue import sent
from app.catalogue.form import run_form
from app.errors import AppError, InvalidInput
from app.i18n import N_, gettext, sentence
from app.models import User
from app.runs.submit import estimate
from labs.contract import Lab

PART_TITLES: Mapping[str, str] = {
    "weights": N_("Weights"),
    "adapters": N_("What is added"),
    "gradients": N_("Gradients"),
    "optimizer": N_("Optimizer state"),
    "activations": N_("Activations"),
    "logits": N_("Logits"),
    "library": N_("Python and libraries"),
    "merging": N_("Merging at the end"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the memory, in bytes."""

    title: str
    bytes: int


@dataclass(frozen=True, slots=True)
class EstimatePanel:
    """Memory by part, time, where it fits; or why nothing can be said. Rendered by labs/_estimate.html."""

    problem: str
    errors: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    total: int
    seconds: Sequence[float] | None
    devices: Sequence[Mapping[str, Any]]
    alternatives: Sequence[Mapping[str, Any]]
    notes: Sequence[Mapping[str, Any]]
    measured_runs: int
    command: str


def estimate_panel(session: Session, actor: User, lab: Lab, entered: sent.Entered) -> EstimatePanel:
    form = run_form(session, actor, lab, entered)
    try:
        found = estimate(session, actor, sent.submission(lab, entered))
    except InvalidInput as error:
        titles = {
            each.name: each.title
            for each in (*form.inputs, *form.basic, *form.advanced, *form.about)
        }
        told = [(titles.get(e.field, ""), sentence(e.message, e.values)) for e in error.errors]
        return _without("", told, form.command)
    except AppError as error:
        return _without(sentence(error.message, error.values), (), form.command)
    return EstimatePanel(
        problem="",
        errors=(),
        parts=[
            Part(gettext(PART_TITLES.get(name, name)), size)
            for name, size in found["parts"].items()
            if size
        ],
        total=found["memory_bytes"],
        seconds=found["seconds"],
        devices=found["devices"],
        alternatives=found["alternatives"],
        notes=found["notes"],
        measured_runs=found["measured_runs"],
        command=form.command,
    )


def _without(problem: str, errors: Sequence[tuple[str, str]], command: str) -> EstimatePanel:
    return EstimatePanel(problem, errors, (), 0, None, (), (), (), 0, command)
