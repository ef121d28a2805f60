"""Which labs take a model, why others do not, and what each would need of this site's devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.devices.queries import list_devices
from app.library.facts import facts_of
from app.library.standing import check_standing
from app.models import Device, LanguageModel
from app.runs import costs
from labs import estimate, registry
from labs.contract import Lab, LabError, Params
from labs.models import ModelFacts

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether a lab takes a model with its default parameters.

    `refusal` is a sentence as {"message", "values"}; where a parameter alone is in the way,
    `parameter` is its title and another value of it would do. `memory_bytes` is an estimate with
    rows as long as they may be, its margin included; `fits` names the devices that could hold it.
    """

    lab: Lab
    refusal: Json | None
    parameter: str
    memory_bytes: int | None
    fits: Sequence[str]


def acceptances(session: Session, model: LanguageModel) -> list[Acceptance]:
    """What each lab says of a model; empty where nothing is known of it."""
    facts = facts_of(model)
    if facts is None:
        return []
    devices = list_devices(session)
    return [_acceptance(lab, facts, devices) for lab in registry.all_labs()]


def refusals(lab: Lab, params: Params, models: Sequence[LanguageModel]) -> dict[UUID, LabError]:
    """Why no run of a lab with these parameters could start from some of the models now."""
    said = {model.id: _refusal(lab, params, model) for model in models}
    return {model_id: refusal for model_id, refusal in said.items() if refusal}


def _refusal(lab: Lab, params: Params, model: LanguageModel) -> LabError | None:
    try:
        check_standing(model)
    except LabError as error:
        return error
    facts = facts_of(model)
    return lab.accepts.refuse(facts, params) if facts else None


def _acceptance(lab: Lab, facts: ModelFacts, devices: Sequence[Device]) -> Acceptance:
    params = lab.params()
    refusal = lab.accepts.refuse(facts, params)
    if refusal is not None:
        told = {"message": refusal.message, "values": refusal.values}
        return Acceptance(lab, told, _title(lab, refusal.parameter), None, ())
    kind: estimate.Device = "cuda" if any(each.kind == "cuda" for each in devices) else "cpu"
    need = estimate.estimate(lab, facts, params, kind).total_bytes
    need += costs.margin(need)
    fits = [each.name for each in devices if need <= each.memory_bytes]
    return Acceptance(lab, None, "", need, fits)


def _title(lab: Lab, parameter: str) -> str:
    field = lab.params.model_fields.get(parameter)
    return (field.title or parameter) if field else ""
