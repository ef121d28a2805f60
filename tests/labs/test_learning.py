"""Each lab learns the bundled task from the same baseline, above the floor that its README states."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from labs import bundled, registry
from labs.runspec import write_params
from labs.trainer import StopFlag, run_attempt
from tests.labs.runs import events_of, make_spec

STATED = (registry.ROOT / "bundled" / "README.md").read_text(encoding="utf-8")
# | `adapter` | 20 | 85 % |
FLOORS = [
    (slug, int(steps), int(percent) / 100)
    for slug, steps, percent in re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) % \|$", STATED, re.M)
]


def test_every_tuning_lab_states_its_floor() -> None:
    folders = (path.parent for path in (registry.ROOT / "peft").glob("*/tuning.py"))
    assert {folder.name for folder in folders} == {slug for slug, _, _ in FLOORS}


@pytest.mark.parametrize(("slug", "steps", "floor"), FLOORS)
def test_a_few_steps_reach_the_floor(tmp_path: Path, slug: str, steps: int, floor: float) -> None:
    model, dataset = bundled.models()["base"], bundled.datasets()["tickets"]
    spec = make_spec(model, dataset, stages=["train"], lab=slug)
    short = {"steps": steps, "evaluation_interval": steps}
    write_params(tmp_path, replace(spec, params=short))
    assert run_attempt(tmp_path, StopFlag()).outcome == "succeeded"
    measured = [
        event["values"]["eval/accuracy"]
        for event in events_of(tmp_path, "metrics")
        if "eval/accuracy" in event["values"]
    ]
    assert measured[0] == 0.0
    assert measured[-1] >= floor
