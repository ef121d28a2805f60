"""What a run starts from: a base model of the library, or the whole model that an earlier run left."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import FieldError, NotFound
from app.i18n import N_, gettext
from app.library.standing import check_standing
from app.models import Artifact, LanguageModel, Run, RunState, User
from app.runs import queries
from app.runs.labs_of import lab_of
from app.runs.preflight.fields import told
from app.runs.preflight.stamps import Stamp, stamp_of
from app.settings import get_settings
from labs import registry
from labs.contract import WHOLE_MODELS, Lab, LabError
from labs.models import ModelFacts, read_facts

REMEMBERED = 64
PARENT = "parent_run"


@dataclass(frozen=True, slots=True)
class Parent:
    """An earlier run that succeeded, and which of its artifacts is taken."""

    run: Run
    artifact: Artifact

    @property
    def folder(self) -> Path:
        """Where the artifact lies."""
        return get_settings().run_dir(self.run.id) / self.artifact.path


@dataclass(frozen=True, slots=True)
class Start:
    """The model that a run begins with.

    `model` is of the library, at the root of everything; with a parent, `folder` and `facts` are
    of what that run left.
    """

    model: LanguageModel
    folder: Path
    facts: ModelFacts
    parent: Parent | None = None


def find_start(
    session: Session, actor: User, lab: Lab, wanted: str | None, parent_run: UUID | None
) -> tuple[Start | None, list[FieldError]]:
    """The model that is asked for by name, id or run, or the lab's own; or what is wrong with it."""
    if parent_run is None:
        return _of_library(session, lab, wanted)
    parent, errors = find_parent(session, actor, parent_run, lab.accepts.parents)
    if parent is None:
        return None, errors
    model = parent.run.base_model
    named = queries.find_model(session, wanted) if wanted else model
    if named is None or named.id != model.id:
        sentence = N_(
            "“{run}” was made from “{model}”. Leave the base model out, or start without that run."
        )
        values = {"run": parent.run.name, "model": model.name}
        return None, [FieldError("base_model", sentence, values)]
    facts, errors = _read(parent.folder, parent.run.name, PARENT)
    return (Start(model, parent.folder, facts, parent) if facts else None), errors


def _of_library(
    session: Session, lab: Lab, wanted: str | None
) -> tuple[Start | None, list[FieldError]]:
    name = wanted or lab.default_model
    model = queries.find_model(session, name)
    if model is None:
        sentence = N_("There is no base model “{name}” in the library.")
        return None, [FieldError("base_model", sentence, {"name": name})]
    try:
        check_standing(model)
    except LabError as error:
        return None, [told("base_model", error)]
    folder = Path(model.path)
    facts, errors = _read(folder, model.name, "base_model")
    return (Start(model, folder, facts) if facts else None), errors


def _read(folder: Path, name: str, field: str) -> tuple[ModelFacts | None, list[FieldError]]:
    try:
        return replace(_facts(folder, stamp_of(folder)), name=name), []
    except LabError as error:
        return None, [told(field, error)]
    except OSError as error:
        sentence = N_("The folder of “{name}” cannot be read: {reason}.")
        values = {"name": name, "reason": error.strerror or str(error)}
        return None, [FieldError(field, sentence, values)]


@lru_cache(maxsize=REMEMBERED)
def _facts(folder: Path, stamp: Stamp) -> ModelFacts:
    return read_facts(folder)


def find_parent(
    session: Session,
    actor: User,
    wanted: UUID,
    kinds: frozenset[str],
    field: str = PARENT,
) -> tuple[Parent | None, list[FieldError]]:
    """The artifact of an earlier run that has one of these kinds, or why there is none."""
    try:
        run = queries.get_run(session, actor, wanted)
    except NotFound as error:
        return None, [FieldError(field, error.message)]
    if run.state is not RunState.SUCCEEDED:
        return None, [FieldError(field, N_("Only a run that has succeeded can be built upon."))]
    artifacts = queries.artifacts(session, run.id)
    artifact = newest_of(artifacts, kinds)
    if artifact is None:
        message, values = _nothing_fits(run, {each.kind for each in artifacts}, kinds)
        return None, [FieldError(field, message, values)]
    return Parent(run, artifact), []


def newest_of(artifacts: Sequence[Artifact], kinds: frozenset[str]) -> Artifact | None:
    """The newest artifact of one of these kinds; artifacts come oldest first."""
    return next((each for each in reversed(artifacts) if each.kind in kinds), None)


def parent_artifact(session: Session, lab: Lab, parent: Run) -> str | None:
    """The newest artifact of a run that a lab takes as its start, by path within that run."""
    artifact = newest_of(queries.artifacts(session, parent.id), lab.accepts.parents)
    return artifact.path if artifact else None


def start_folder(session: Session, run: Run, lab: Lab) -> Path:
    """Where the model lies that a stored run begins with."""
    parent = session.get(Run, run.parent_run_id) if run.parent_run_id else None
    path = parent_artifact(session, lab, parent) if parent else None
    if parent is None or path is None:
        return Path(run.base_model.path)
    return get_settings().run_dir(parent.id) / path


def _nothing_fits(run: Run, left: set[str], kinds: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """What to do instead: merge an adapter, or start from a run that leaves a whole model."""
    values: dict[str, Any] = {"name": run.name, "kinds": ", ".join(sorted(kinds)) or "-"}
    if "quantized" in left and not left & WHOLE_MODELS:
        return (
            N_("“{name}” has left a quantized model, which cannot be trained or compressed further. Start from the run or the model that it was made from."),
            values,
        )  # fmt: skip
    if "adapter" not in left or not kinds & WHOLE_MODELS:
        return N_("“{name}” has left nothing that this lab takes. It takes: {kinds}."), values
    lab = lab_of(run)
    if "merged" in lab.produces:
        values["stage"] = gettext(lab.stages[-1].title)
        return (
            N_("“{name}” has left an adapter only, and this lab needs a whole model. Merge it first: start that run again with its stage “{stage}”, then take the new one."),
            values,
        )  # fmt: skip
    values["labs"] = ", ".join(
        gettext(each.title) for each in registry.all_labs() if WHOLE_MODELS & set(each.produces)
    )
    return (
        N_("“{name}” has left an adapter that cannot be merged into a whole model, which this lab needs. Runs of these labs leave one: {labs}."),
        values,
    )  # fmt: skip
