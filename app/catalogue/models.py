"""The base models in the form of a run: which the lab takes, and why it does not take others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from app.forms import Field
from app.i18n import N_, gettext, sentence
from app.library.acceptance import refusals
from app.library.standing import check_standing
from app.models import LanguageModel
from app.runs.queries import find_model
from labs.contract import Lab, LabError

REASONS_SHOWN = 4


def model_field(lab: Lab, models: Sequence[LanguageModel]) -> Field:
    """The choice of a base model; those that the lab refuses stand last, with their reasons."""
    refused = refusals(lab, models)
    taken = [(str(model.id), model.name) for model in models if model.id not in refused]
    marked = [(str(model.id), _marked(model)) for model in models if model.id in refused]
    return Field(
        "base_model",
        gettext(N_("Base model")),
        "select",
        choices=[*taken, *marked],
        help=" ".join([gettext(N_("The model the run starts from.")), *_reasons(refused)]),
    )


def with_standing(session: Session, field: Field) -> Field:
    """The field with what is wrong with a model that is chosen and not offered any more.

    Such a choice comes from an earlier run; without a word the first model would take its place.
    """
    if field.error or field.value in dict(field.choices) or not field.value:
        return field
    model = find_model(session, field.value)
    if model is None or str(model.id) in dict(field.choices):
        return field
    try:
        check_standing(model)
    except LabError as error:
        return replace(field, error=sentence(error.message, error.values))
    return field


def _marked(model: LanguageModel) -> str:
    return sentence(N_("{name} (refused)"), {"name": model.name})


def _reasons(refused: Mapping[UUID, LabError]) -> list[str]:
    said = [sentence(each.message, each.values) for each in refused.values()]
    return said[:REASONS_SHOWN]
