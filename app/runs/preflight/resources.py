"""What parameters name beside the base model and the dataset: a teacher, running text."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import FieldError
from app.i18n import N_
from app.identities import as_uuid
from app.library.standing import check_standing
from app.models import Dataset, LanguageModel, Run, RunResource, User
from app.runs import queries
from app.runs.preflight.fields import told
from app.runs.preflight.inputs import is_unchanged
from app.runs.preflight.stamps import stamp_of
from app.runs.preflight.start import find_parent
from labs.contract import WHOLE_MODELS, Lab, LabError, Params, resource_kinds
from labs.formats import SUPERVISED

READABLE = SUPERVISED | {"text"}


@dataclass(frozen=True, slots=True)
class Named:
    """What one parameter names: exactly one of a model, a dataset, or the model an earlier run left.

    `mark` is equal for equal contents.
    """

    parameter: str
    path: Path
    mark: Any
    model: LanguageModel | None = None
    dataset: Dataset | None = None
    run: Run | None = None

    @property
    def label(self) -> str:
        """The name that people know it by."""
        found = self.model or self.dataset or self.run
        assert found is not None, f"{self.parameter} names nothing"
        return found.name

    def row(self, run_id: UUID) -> RunResource:
        """As it is stored with a run."""
        return RunResource(
            run_id=run_id,
            name=self.parameter,
            model_id=self.model.id if self.model else None,
            dataset_id=self.dataset.id if self.dataset else None,
            used_run_id=self.run.id if self.run else None,
        )


Found = tuple[Named | None, list[FieldError]]


def find_resources(
    session: Session, actor: User, lab: Lab, params: Params
) -> tuple[list[Named], list[FieldError]]:
    """Everything that these parameters name, and what is wrong with some of it."""
    found: list[Named] = []
    errors: list[FieldError] = []
    for parameter, kind in resource_kinds(lab.params).items():
        wanted = str(getattr(params, parameter)).strip()
        if not wanted:
            continue
        find = _model if kind == "model" else _dataset
        named, wrong = find(session, actor, parameter, wanted)
        found += [named] if named else []
        errors += wrong
    return found, errors


def goes_together(
    lab: Lab, folder: Path, params: Params, resources: Mapping[str, Path]
) -> list[FieldError]:
    """Why the base model does not go with what the parameters name: at most one sentence."""
    try:
        refusal = lab.accepts.refuse_together(folder, params, resources)
    except LabError as error:
        refusal = error
    return [told(refusal.parameter or "base_model", refusal)] if refusal else []


def _model(session: Session, actor: User, parameter: str, wanted: str) -> Found:
    model = queries.find_model(session, wanted)
    if model is not None:
        return _of_library(parameter, model)
    identity = as_uuid(wanted)
    if identity is None:
        sentence = N_("There is no model “{name}” in the library, and no run of that id.")
        return None, [FieldError(parameter, sentence, {"name": wanted[:80]})]
    parent, errors = find_parent(session, actor, identity, WHOLE_MODELS, parameter)
    if parent is None:
        return None, errors
    return Named(parameter, parent.folder, parent.artifact.sha256, run=parent.run), []


def _of_library(parameter: str, model: LanguageModel) -> Found:
    try:
        check_standing(model)
        mark = [model.name, stamp_of(Path(model.path))]
    except LabError as error:
        return None, [told(parameter, error)]
    except OSError as error:
        sentence = N_("The folder of “{name}” cannot be read: {reason}.")
        values = {"name": model.name, "reason": error.strerror or str(error)}
        return None, [FieldError(parameter, sentence, values)]
    return Named(parameter, Path(model.path), mark, model=model), []


def _dataset(session: Session, actor: User, parameter: str, wanted: str) -> Found:
    dataset = queries.find_dataset(session, actor, wanted)
    if dataset is None:
        sentence = N_("There is no dataset “{name}” among yours and the shared ones.")
        return None, [FieldError(parameter, sentence, {"name": wanted[:80]})]
    if dataset.format not in READABLE:
        sentence = N_("“{name}” has the format {format}; what is read here is: {formats}.")
        formats = ", ".join(sorted(READABLE))
        values = {"name": dataset.name, "format": dataset.format, "formats": formats}
        return None, [FieldError(parameter, sentence, values)]
    if not is_unchanged(dataset):
        sentence = N_(
            "The file of “{name}” is gone or has changed since it was added. Add it again."
        )
        return None, [FieldError(parameter, sentence, {"name": dataset.name})]
    return Named(parameter, Path(dataset.path), dataset.sha256, dataset=dataset), []
