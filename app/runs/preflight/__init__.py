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
from app.runs.preflight.resources import Named, goes_together
from app.runs.preflight.room import must_fit, need_disk
from app.runs.preflight.rows import RowsFound, judge
from app.runs.preflight.running_text import long_enough
from app.runs.preflight.shared import Shared
from app.runs.preflight.start import Start, parent_artifact
from app.runs.preflight.ways import with_ways
from labs.contract import Lab, Params

if TYPE_CHECKING:
    from app.runs.submit import Submission

__all__ = ["Checked", "Shared", "check", "check_device", "check_disk", "parent_artifact"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that holds."""

    lab: Lab
    stages: tuple[str, ...]
    params: Params
    start: Start
    dataset: Dataset
    resources: tuple[Named, ...]
    estimate: Json

    @property
    def base_model(self) -> LanguageModel:
        """The model of the library at the root of what it starts from."""
        return self.start.model


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
    start, start_errors = shared.start(lab, submission.base_model, submission.parent_run)
    dataset, dataset_errors = shared.dataset(lab, submission.dataset)
    errors += [*wrong, *start_errors, *dataset_errors]
    resources: list[Named] = []
    if params:
        resources, resource_errors = shared.resources(lab, params)
        errors += resource_errors
    if params and start:
        refusal = refused(lab, start.facts, params)
        errors += refusal or goes_together(
            lab, start.folder, params, {each.parameter: each.path for each in resources}
        )
    if params and dataset and not dataset_errors:
        errors += refused_format(lab, dataset.format, params)
        if start and not errors:
            text = next((each.path for each in resources if each.parameter == "calibration"), None)
            errors += long_enough(text or Path(dataset.path), start.folder, params)
    found = RowsFound()
    if params and start and dataset and not dataset_errors:
        found = judge(dataset, start.folder, start.facts, params)
        errors += found.errors
    if errors or params is None or start is None or dataset is None:
        raise InvalidInput(errors)
    pricing = shared.pricing(lab, start, found.lengths)
    estimate = costs.estimate(pricing, params, submission.reserve_bytes)
    told = {**with_ways(estimate, pricing, params), "warnings": list(found.warnings)}
    return Checked(lab, stages, params, start, dataset, tuple(resources), told)


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
    need_disk(*((each.lab, each.start.facts, each.params) for each in checked))
