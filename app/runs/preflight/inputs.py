"""What a run starts from: base model, dataset, and an earlier run's artifact."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import FieldError, NotFound
from app.i18n import N_
from app.library.standing import check_standing
from app.models import Artifact, Dataset, LanguageModel, Run, RunState, User
from app.runs import queries
from app.runs.preflight.fields import told
from app.runs.preflight.stamps import Stamp, modified_after, stamp_of
from labs.contract import Lab, LabError
from labs.datasets import fingerprint
from labs.models import ModelFacts, read_facts

REMEMBERED = 64


def find_base_model(
    session: Session, lab: Lab, wanted: str | None
) -> tuple[LanguageModel | None, ModelFacts | None, list[FieldError]]:
    """The base model by name or id, or the lab's own, with its facts or what is wrong with it."""
    name = wanted or lab.default_model
    model = queries.find_model(session, name)
    if model is None:
        sentence = N_("There is no base model “{name}” in the library.")
        return None, None, [FieldError("base_model", sentence, {"name": name})]
    folder = Path(model.path)
    try:
        check_standing(model)
        return model, replace(_facts(folder, stamp_of(folder)), name=model.name), []
    except LabError as error:
        return model, None, [told("base_model", error)]
    except OSError as error:
        sentence = N_("The folder of “{name}” cannot be read: {reason}.")
        values = {"name": name, "reason": error.strerror or str(error)}
        return model, None, [FieldError("base_model", sentence, values)]


@lru_cache(maxsize=REMEMBERED)
def _facts(folder: Path, stamp: Stamp) -> ModelFacts:
    return read_facts(folder)


def find_dataset(
    session: Session, actor: User, lab: Lab, wanted: str | None
) -> tuple[Dataset | None, list[FieldError]]:
    """The dataset that this person may use, or what is wrong with it."""
    name = wanted or lab.default_dataset
    dataset = queries.find_dataset(session, actor, name)
    if dataset is None:
        sentence = N_("There is no dataset “{name}” among yours and the shared ones.")
        return None, [FieldError("dataset", sentence, {"name": name})]
    if lab.accepts.formats and dataset.format not in lab.accepts.formats:
        sentence = N_("“{name}” has the format {format}; this lab takes: {formats}.")
        values = {
            "name": dataset.name,
            "format": dataset.format,
            "formats": ", ".join(sorted(lab.accepts.formats)),
        }
        return dataset, [FieldError("dataset", sentence, values)]
    if not _is_unchanged(dataset):
        sentence = N_(
            "The file of “{name}” is gone or has changed since it was added. Add it again."
        )
        return dataset, [FieldError("dataset", sentence, {"name": dataset.name})]
    return dataset, []


def _is_unchanged(dataset: Dataset) -> bool:
    """By size and time; a file that was written since the row was added is read once more."""
    path = Path(dataset.path)
    try:
        stamp = stamp_of(path, "*.jsonl")
        if sum(size for _name, size, _time in stamp) != dataset.bytes:
            return False
        return not modified_after(stamp, dataset.created_at) or _sha256(path, stamp) == (
            dataset.sha256
        )
    except OSError:
        return False


@lru_cache(maxsize=REMEMBERED)
def _sha256(path: Path, stamp: Stamp) -> str:
    return fingerprint(path)


def find_parent(
    session: Session, actor: User, lab: Lab, wanted: UUID | None
) -> tuple[Artifact | None, list[FieldError]]:
    """What of an earlier run this one goes on from, or why it cannot."""
    if wanted is None:
        return None, []
    try:
        parent = queries.get_run(session, actor, wanted)
    except NotFound as error:
        return None, [FieldError("parent_run", error.message)]
    if parent.state is not RunState.SUCCEEDED:
        sentence = N_("Only a run that has succeeded can be built upon.")
        return None, [FieldError("parent_run", sentence)]
    artifact = _fitting(session, lab, parent)
    if artifact is None:
        sentence = N_("“{name}” has left nothing that this lab takes. It takes: {kinds}.")
        kinds = ", ".join(sorted(lab.accepts.parents)) or "-"
        return None, [FieldError("parent_run", sentence, {"name": parent.name, "kinds": kinds})]
    return artifact, []


def parent_artifact(session: Session, lab: Lab, parent: Run) -> str | None:
    """The newest artifact of a run that a lab takes as its start, by path within that run."""
    artifact = _fitting(session, lab, parent)
    return artifact.path if artifact else None


def _fitting(session: Session, lab: Lab, parent: Run) -> Artifact | None:
    found = queries.artifacts(session, parent.id)
    return next((each for each in reversed(found) if each.kind in lab.accepts.parents), None)
