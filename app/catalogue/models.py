"""The base models in the form of a run: which the lab takes, and why it does not take others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from app.forms import Field, param_values
from app.i18n import N_, gettext, sentence
from app.library.acceptance import refusals
from app.library.standing import check_standing
from app.models import LanguageModel
from app.runs.fields import read_params
from app.runs.queries import find_model
from labs.contract import Lab, LabError, Params

REASONS_SHOWN = 4


def model_field(lab: Lab, texts: Mapping[str, str], models: Sequence[LanguageModel]) -> Field:
    """The choice of a base model. Those that the lab refuses with the parameters of the form, or
    whose files are gone, stand last, with their reasons."""
    refused = refusals(lab, _params(lab, texts), models)
    taken = [(str(model.id), model.name) for model in models if model.id not in refused]
    marked = [
        (str(model.id), _marked(model, refused[model.id]))
        for model in models
        if model.id in refused
    ]
    return Field(
        "base_model",
        gettext(N_("Base model")),
        "select",
        choices=[*taken, *marked],
        help=" ".join([gettext(N_("The model the run starts from.")), *_reasons(refused)]),
    )


def _params(lab: Lab, texts: Mapping[str, str]) -> Params:
    """The parameters of the form, or the lab's own where they do not hold."""
    params, _errors = read_params(lab.params, param_values(lab.params, texts))
    return params or lab.params()


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


def _marked(model: LanguageModel, refusal: LabError) -> str:
    needs = N_("{name} (needs other parameters)") if refusal.parameter else N_("{name} (refused)")
    return sentence(needs, {"name": model.name})


def _reasons(refused: Mapping[UUID, LabError]) -> list[str]:
    said = [sentence(each.message, each.values) for each in refused.values()]
    return said[:REASONS_SHOWN]
