"""The LoRA lab on a tiny model, disturbed: it ends, with the losses of an undisturbed run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.database import transaction
from app.models import OVER, RunState
from tests.faults.box import Box
from tests.faults.cells import REAL_CELLS, Cell
from tests.faults.checks import Expected, acknowledged, chart_of, check_promises
from tests.faults.phases import UNDISTURBED, bring
from tests.faults.viewer import Viewer
from tests.labs.tiny import make_dataset as write_dataset
from tests.labs.tiny import make_model as write_model
from tests.support.factories import make_dataset, make_model

PARAMS = {"steps": 6, "evaluation_interval": 2, "batch_size": 4, "max_length": 32, "rank": 4}
# The same in every run of one seed; times and memory are not.
COMPARED = ("train/loss", "eval/loss", "train/grad_norm")
Values = Mapping[str, Any]


@pytest.fixture(scope="module")
def known() -> dict[str, Expected]:
    """What an undisturbed run leaves, once a first one has been carried out."""
    return {}


@pytest.fixture
def values(box: Box, known: dict[str, Expected]) -> Values:
    """What a run of these tests has; the first test carries an undisturbed one out."""
    given = {"lab": "lora", "params": PARAMS, "seed": 7, **_inputs(box.home)}
    if not known:
        scene = bring(box, UNDISTURBED, **given)
        UNDISTURBED.release(scene)
        scene.wait_for(*OVER)
        assert scene.state is RunState.SUCCEEDED, box.run(scene.run_id).reason
        chart = chart_of(scene)
        points = {key: chart[key] for key in COMPARED}
        known["undisturbed"] = Expected(points, PARAMS["evaluation_interval"])
    return given


def _inputs(home: Path) -> dict[str, Any]:
    model, rows = home / "tiny", home / "letters.jsonl"
    if not model.exists():
        write_model(model)
        write_dataset(rows)
    with transaction() as session:
        return {
            "base_model_id": make_model(session, path=str(model)).id,
            "dataset_id": make_dataset(session, path=str(rows)).id,
        }


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize(
    ("box", "cell"),
    [pytest.param((cell.database, cell.trainer), cell, id=str(cell)) for cell in REAL_CELLS],
    indirect=["box"],
)
def test_a_real_training_goes_on(
    box: Box, cell: Cell, values: Values, known: dict[str, Expected]
) -> None:
    scene = bring(box, cell.phase, **values)
    with Viewer(box, scene.run_id) as viewer:
        cell.phase.reach(scene)
        before = acknowledged(scene)
        cell.fault.act(scene)
        cell.phase.release(scene)
        cell.fault.heal(scene)
        scene.wait_for(*OVER)
        box.ensure()
    check_promises(scene, cell.fault, before, viewer, known["undisturbed"])
