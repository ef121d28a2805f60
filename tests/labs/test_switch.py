"""Switching between tasks: that it is noticed when it does nothing, and how the guide tells it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from labs.common import stages
from labs.common.agreement import largest_difference, logits
from labs.common.other_task import other_task
from labs.common.stages.switch import PeftTasks
from labs.contract import LabContext
from labs.rundir import DirectoryContext
from tests.labs.tiny import make_labelled
from tests.labs.tuning_cases import Case, context, tuning

PROMPTS = [(1, 40, 50, 60, 70)]


class Stuck(PeftTasks):
    """Says that it switches."""

    def use(self, name: str) -> None:
        """Leave the model as it is."""


def left_behind(case: Case, run: LabContext) -> Any:
    """The tuning of a case, and in the run an artifact with fresh parts."""
    made = tuning(case, run)
    with run.artifact(made.kept, made.kept) as folder:
        made.save(made.attach(made.load_base(run)), folder, run.base_model_name)
    return made


def test_a_switch_that_does_nothing_is_noticed(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    case = Case("prompt_tuning")
    run = context(case, tmp_path, tiny_model, tiny_dataset)
    made = left_behind(case, run)
    with pytest.raises(AssertionError, match="another task"):
        stages.switch(made, run, tasks=Stuck)
    assert stages.switch(made, run)["switch/seconds"] > 0
    text = (tmp_path / "artifacts" / "guide" / "README.md").read_text(encoding="utf-8")
    size = sum(path.stat().st_size for path in (tmp_path / "artifacts" / "adapter").iterdir())
    assert f"| One more task | {size:,} | bytes |" in text


def test_the_other_task_differs_in_every_weight_and_in_nothing_else(tmp_path: Path) -> None:
    here = tmp_path / "task"
    here.mkdir()
    (here / "labels.json").write_text("[]", encoding="utf-8")
    weights = {name: torch.zeros(3, 4) for name in ("one", "two")}
    save_file(weights, here / "head.safetensors")
    with other_task(here) as other:
        assert sorted(p.name for p in other.iterdir()) == sorted(p.name for p in here.iterdir())
        moved = load_file(other / "head.safetensors")
        assert {n: (w.shape, w.dtype) for n, w in moved.items()} == {
            n: (w.shape, w.dtype) for n, w in weights.items()
        }
        assert all((w != 0).all() for w in moved.values())
    assert not other.exists()
    assert all((w == 0).all() for w in load_file(here / "head.safetensors").values())


def test_the_guide_of_a_classifier_brings_the_head_of_each_task(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = make_labelled(tmp_path / "letters.jsonl")
    case = Case("p_tuning_v2", {"head": "classification"})
    run = context(case, tmp_path / "run", tiny_model, labelled)
    assert isinstance(run, DirectoryContext)
    made = left_behind(case, run)
    kept = run.run_dir / "artifacts" / "adapter"
    shutil.copytree(kept, tmp_path / "first-task")
    with other_task(kept) as other:
        shutil.copytree(other, tmp_path / "second-task")
    (tmp_path / "tiny").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    world: dict[str, Any] = {}
    exec(made.serving("tiny"), world)
    expected = logits(made.load_tuned(run, kept), PROMPTS, "cpu")
    assert largest_difference(expected, logits(world["model"], PROMPTS, "cpu")) < 1e-5
