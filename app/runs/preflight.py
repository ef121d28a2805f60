"""Everything that can be known to fail is told before a run is queued, field by field."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidInput, NotFound, Unavailable
from app.i18n import N_
from app.models import Dataset, LanguageModel, Run, RunState, User
from app.runs import costs, queries
from app.runs.fields import read_params
from app.runs.reasons import gibibytes
from app.settings import get_settings
from labs import registry
from labs.contract import Lab, LabError, Params
from labs.models import ModelFacts, read_facts

if TYPE_CHECKING:
    from app.runs.submit import Submission

Json = dict[str, Any]
LARGEST_SEED = 2**31 - 1
NAME_LENGTH = 120
KEY_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that holds."""

    lab: Lab
    stages: tuple[str, ...]
    params: Params
    base_model: LanguageModel
    dataset: Dataset
    estimate: Json


def check(
    session: Session, actor: User, submission: "Submission", for_queue: bool = True
) -> Checked:
    """Check a submission as a whole; with `for_queue` also that it could ever run here.

    Raises:
        InvalidInput: With every field that does not hold.
        Unavailable: If the disk is nearly full.
    """
    lab = _lab(submission.lab)
    stages, errors = _stages(lab, submission.stages)
    errors += _plain_fields(submission)
    params, wrong = read_params(lab.params, submission.params)
    base_model, facts, model_errors = _base_model(session, lab, submission.base_model)
    dataset, dataset_errors = _dataset(session, actor, lab, submission.dataset)
    errors += [*wrong, *model_errors, *dataset_errors]
    errors += _parent(session, actor, lab, submission)
    if params and facts:
        errors += _refused(lab, facts, params)
    if errors or params is None or facts is None or base_model is None or dataset is None:
        raise InvalidInput(errors)
    estimate = costs.estimate(
        session, lab, params, facts, base_model, reserve_bytes=submission.reserve_bytes
    )
    if for_queue:
        _must_fit(estimate)
        _need_disk()
    return Checked(lab, stages, params, base_model, dataset, estimate)


def _lab(slug: str) -> Lab:
    try:
        return registry.get(slug)
    except LabError as error:
        raise InvalidInput([_told("lab", error)]) from error


def _stages(lab: Lab, wanted: Sequence[str] | None) -> tuple[tuple[str, ...], list[FieldError]]:
    """The stages to carry out: the first ones of the lab, without a gap, as each needs the last."""
    known = tuple(stage.name for stage in lab.stages)
    if wanted is None:
        return known, []
    for name in wanted:
        try:
            lab.stage(name)
        except LabError as error:
            return known, [_told("stages", error)]
    if not wanted:
        return known, [FieldError("stages", N_("Choose at least one stage."))]
    last = max(known.index(name) for name in wanted)
    missing = [name for name in known[: last + 1] if name not in wanted]
    if missing:
        told = N_("The stage “{stage}” builds on the ones before it. Choose these too: {missing}.")
        values = {"stage": known[last], "missing": ", ".join(missing)}
        return known, [FieldError("stages", told, values)]
    return known[: last + 1], []


def _plain_fields(submission: "Submission") -> list[FieldError]:
    errors = []
    if submission.seed is not None and not 0 <= submission.seed <= LARGEST_SEED:
        told = N_("The seed {seed} does not fit: allowed is 0 to {largest}.")
        values = {"seed": submission.seed, "largest": LARGEST_SEED}
        errors.append(FieldError("seed", told, values))
    if len(submission.name) > NAME_LENGTH or "\0" in submission.name:
        told = N_("A name has at most {limit} characters.")
        errors.append(FieldError("name", told, {"limit": NAME_LENGTH}))
    key = submission.idempotency_key
    if key is not None and not (0 < len(key) <= KEY_LENGTH and key.isprintable()):
        told = N_("An idempotency key has 1 to {limit} printable characters.")
        errors.append(FieldError("", told, {"limit": KEY_LENGTH}))
    return errors


def _base_model(
    session: Session, lab: Lab, wanted: str | None
) -> tuple[LanguageModel | None, ModelFacts | None, list[FieldError]]:
    name = wanted or lab.default_model
    model = queries.find_model(session, name)
    if model is None:
        told = N_("There is no base model “{name}” in the library.")
        return None, None, [FieldError("base_model", told, {"name": name})]
    try:
        return model, read_facts(Path(model.path)), []
    except LabError as error:
        return model, None, [_told("base_model", error)]
    except OSError as error:
        told = N_("The folder of “{name}” cannot be read: {reason}.")
        values = {"name": name, "reason": error.strerror or str(error)}
        return model, None, [FieldError("base_model", told, values)]


def _dataset(
    session: Session, actor: User, lab: Lab, wanted: str | None
) -> tuple[Dataset | None, list[FieldError]]:
    name = wanted or lab.default_dataset
    dataset = queries.find_dataset(session, actor, name)
    if dataset is None:
        told = N_("There is no dataset “{name}” among yours and the shared ones.")
        return None, [FieldError("dataset", told, {"name": name})]
    if lab.accepts.formats and dataset.format not in lab.accepts.formats:
        told = N_("“{name}” has the format {format}; this lab takes: {formats}.")
        values = {
            "name": dataset.name,
            "format": dataset.format,
            "formats": ", ".join(sorted(lab.accepts.formats)),
        }
        return dataset, [FieldError("dataset", told, values)]
    if not _is_unchanged(dataset):
        told = N_("The file of “{name}” is gone or has changed since it was added. Add it again.")
        return dataset, [FieldError("dataset", told, {"name": dataset.name})]
    return dataset, []


def _is_unchanged(dataset: Dataset) -> bool:
    path = Path(dataset.path)
    try:
        if path.is_file():
            return path.stat().st_size == dataset.bytes
        return any(path.glob("*.jsonl"))
    except OSError:
        return False


def _parent(session: Session, actor: User, lab: Lab, submission: "Submission") -> list[FieldError]:
    if submission.parent_run is None:
        return []
    try:
        parent = queries.get_run(session, actor, submission.parent_run)
    except NotFound as error:
        return [FieldError("parent_run", error.message)]
    if parent.state is not RunState.SUCCEEDED:
        told = N_("Only a run that has succeeded can be built upon.")
        return [FieldError("parent_run", told)]
    if parent_artifact(session, lab, parent) is None:
        told = N_("“{name}” has left nothing that this lab takes. It takes: {kinds}.")
        kinds = ", ".join(sorted(lab.accepts.parents)) or "-"
        return [FieldError("parent_run", told, {"name": parent.name, "kinds": kinds})]
    return []


def parent_artifact(session: Session, lab: Lab, parent: Run) -> str | None:
    """The newest artifact of a run that a lab takes as its start, by path within that run."""
    fitting = [
        artifact
        for artifact in queries.artifacts(session, parent.id)
        if artifact.kind in lab.accepts.parents
    ]
    return fitting[-1].path if fitting else None


def _refused(lab: Lab, facts: ModelFacts, params: Params) -> list[FieldError]:
    refusal = lab.accepts.refuse(facts, params)
    return [_told("base_model", refusal)] if refusal else []


def _must_fit(estimate: Json) -> None:
    """Refuse what no registered device could ever hold; without any device it may wait."""
    devices = estimate["devices"]
    if not devices or any(device["fits"] for device in devices):
        return
    largest = max(devices, key=lambda device: device["memory_bytes"])
    raise InvalidInput(
        [
            FieldError(
                "",
                N_("This run needs about {need} of memory; the largest device, {device}, has {total}. Use a smaller batch, shorter rows or a smaller base model."),
                {
                    "need": gibibytes(estimate["memory_bytes"]),
                    "device": largest["name"],
                    "total": gibibytes(largest["memory_bytes"]),
                },
            )
        ]
    )  # fmt: skip


def _need_disk() -> None:
    settings = get_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    if free < settings.min_free_bytes:
        raise Unavailable(
            N_("The disk is nearly full ({free} left), so no new run is taken. Tell an administrator."),
            free=gibibytes(free),
        )  # fmt: skip


def _told(field: str, error: LabError) -> FieldError:
    return FieldError(field, error.message, error.values)
