"""Everything that can be known to fail is told before a run is queued, field by field."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.models import Dataset, LanguageModel, User
from app.runs import costs
from app.runs.fields import read_params
from app.runs.preflight.fields import check_plain, check_stages, find_lab, refused, refused_format
from app.runs.preflight.inputs import parent_artifact
from app.runs.preflight.room import must_fit, need_disk
from app.runs.preflight.rows import RowsFound, judge
from app.runs.preflight.shared import Shared
from app.runs.preflight.ways import with_ways
from labs.contract import Lab, Params
from labs.models import ModelFacts

if TYPE_CHECKING:
    from app.runs.submit import Submission

__all__ = ["Checked", "Shared", "check", "check_device", "check_disk", "parent_artifact"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that holds. `parent_sha256` is of the artifact that it builds upon."""

    lab: Lab
    stages: tuple[str, ...]
    params: Params
    base_model: LanguageModel
    dataset: Dataset
    facts: ModelFacts
    parent_sha256: str | None
    estimate: Json


def check(
    session: Session, actor: User, submission: "Submission", shared: Shared | None = None
) -> Checked:
    """Check a submission as a whole.

    Args:
        shared: What the submissions that come with this one have looked up already.

    Raises:
        InvalidInput: With every field that does not hold.
    """
    shared = shared or Shared(session, actor)
    lab = find_lab(submission.lab)
    stages, errors = check_stages(lab, submission.stages)
    errors += check_plain(submission)
    params, wrong = read_params(lab.params, submission.params)
    base_model, facts, model_errors = shared.base_model(lab, submission.base_model)
    dataset, dataset_errors = shared.dataset(lab, submission.dataset)
    parent, parent_errors = shared.parent(lab, submission.parent_run)
    errors += [*wrong, *model_errors, *dataset_errors, *parent_errors]
    if params and facts:
        errors += refused(lab, facts, params)
    if params and dataset and not dataset_errors:
        errors += refused_format(lab, dataset.format, params)
    found = RowsFound()
    if params and facts and base_model and dataset and not dataset_errors:
        found = judge(dataset, Path(base_model.path), facts, params)
        errors += found.errors
    if errors or params is None or facts is None or base_model is None or dataset is None:
        raise InvalidInput(errors)
    pricing = shared.pricing(lab, facts, base_model, found.lengths)
    estimate = costs.estimate(pricing, params, submission.reserve_bytes)
    told = {**with_ways(estimate, pricing, params), "warnings": list(found.warnings)}
    sha256 = parent.sha256 if parent else None
    return Checked(lab, stages, params, base_model, dataset, facts, sha256, told)


def check_device(checked: Checked) -> None:
    """Refuse what no device here could ever hold.

    Raises:
        InvalidInput: With the alternatives that would fit the largest device.
    """
    must_fit(checked.estimate)


def check_disk(*checked: Checked) -> None:
    """Refuse what the disk could not take together.

    Raises:
        Unavailable: If the disk is nearly full.
    """
    need_disk(*((each.lab, each.facts, each.params) for each in checked))
