"""The lab of a stored run, also when the code no longer has it."""

from app.models import Run
from labs import registry
from labs.contract import Accepts, Lab, LabError, Params, Stage


def lab_of(run: Run) -> Lab:
    """The lab a run was of; one with its bare names where it has been removed since."""
    try:
        return registry.get(run.lab)
    except LabError:
        return _removed(run)


def _removed(run: Run) -> Lab:
    stages = tuple(
        Stage(name=str(name), title=str(name), summary="", target="") for name in run.stages
    )
    return Lab(
        slug=run.lab,
        chapter="training",
        title=run.lab,
        summary="",
        params=Params,
        stages=stages,
        metrics=(),
        accepts=Accepts(formats=frozenset()),
        produces=(),
        headline="",
        default_model="",
        default_dataset="",
    )
