"""Each fault, at each phase of a run: whatever is killed, the promises hold."""

import pytest

from app.models import OVER
from tests.faults.box import Box
from tests.faults.cells import CELLS, Cell
from tests.faults.checks import Expected, acknowledged, check_promises
from tests.faults.phases import bring
from tests.faults.trainer import INTERVAL, points
from tests.faults.viewer import Viewer

EXPECTED = Expected(points(), INTERVAL)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("box", "cell"),
    [pytest.param((cell.database, cell.trainer), cell, id=str(cell)) for cell in CELLS],
    indirect=["box"],
)
def test_the_promises_hold(box: Box, cell: Cell) -> None:
    scene = bring(box, cell.phase)
    with Viewer(box, scene.run_id) as viewer:
        cell.phase.reach(scene)
        before = acknowledged(scene)
        cell.fault.act(scene)
        cell.phase.release(scene)
        cell.fault.heal(scene)
        scene.wait_for(*OVER)
        box.ensure()
    check_promises(scene, cell.fault, before, viewer, EXPECTED)
