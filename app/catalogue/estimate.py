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
from app.runs.parts import Part, parts_of
from app.runs.preflight.room import fitting
from app.runs.same_work import Offer
from app.runs.submit import look
from labs.contract import Lab


@dataclass(frozen=True, slots=True)
class EstimatePanel:
    """Memory by part, time, where it fits, same work; or why nothing can be said. Rendered by labs/_estimate.html."""

    problem: str
    errors: Sequence[tuple[str, str]]
    warnings: Sequence[Mapping[str, Any]]
    offer: Offer | None
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
        outlook = look(session, actor, sent.submission(lab, entered))
    except InvalidInput as error:
        titles = {
            each.name: each.title
            for each in (*form.inputs, *form.basic, *form.advanced, *form.about)
        }
        told = [(titles.get(e.field, ""), sentence(e.message, e.values)) for e in error.errors]
        return _without("", told, form.command)
    except AppError as error:
        return _without(sentence(error.message, error.values), (), form.command)
    found = outlook.estimate
    return EstimatePanel(
        problem="",
        errors=(),
        warnings=found["warnings"],
        offer=outlook.same_work,
        parts=_parts(found),
        total=found["memory_bytes"],
        seconds=found["seconds"],
        devices=found["devices"],
        alternatives=_ways(found),
        notes=found["notes"],
        measured_runs=found["measured_runs"],
        command=form.command,
    )


def _parts(found: Mapping[str, Any]) -> list[Part]:
    """The parts, and last what is kept free beside them: together they are the reservation."""
    margin = Part("margin", gettext(N_("Kept free as a margin")), found["margin_bytes"])
    return [*parts_of(found["parts"]), margin]


def _ways(found: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Ways to need less: all of them, or those that would fit where nothing else does."""
    if any(device["fits"] for device in found["devices"]):
        return list(found["alternatives"])
    return fitting(found)


def _without(problem: str, errors: Sequence[tuple[str, str]], command: str) -> EstimatePanel:
    return EstimatePanel(problem, errors, (), None, (), 0, None, (), (), (), 0, command)
