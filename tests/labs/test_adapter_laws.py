"""What must hold of adapters in a model alone; what holds of every tuning is in test_tuning_laws."""

from pathlib import Path

import torch

from labs.common.agreement import largest_difference, logits
from labs.common.loading import load_model
from labs.peft.adapter.spec import AdapterParams
from labs.peft.adapter.tuning import AdapterTasks, AdapterTuning

PROMPTS = [(1, 40, 50, 60, 70)]


def saved_task(model: Path, folder: Path, seed: int) -> Path:
    """Adapters that have left their start, one task's."""
    tuning = AdapterTuning(AdapterParams(reduction_factor=8))
    tuned = tuning.attach(load_model(model, "cpu"))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    folder.mkdir()
    tuning.save(tuned, folder, "tiny")
    return folder


def test_each_task_says_its_own_whatever_was_used_before(tiny_model: Path, tmp_path: Path) -> None:
    folders = {
        "default": saved_task(tiny_model, tmp_path / "a", 1),
        "other": saved_task(tiny_model, tmp_path / "b", 2),
    }
    tuning = AdapterTuning(AdapterParams())
    alone = {
        name: logits(tuning.load(load_model(tiny_model, "cpu"), folder), PROMPTS, "cpu")
        for name, folder in folders.items()
    }
    assert largest_difference(alone["default"], alone["other"]) > 1e-2
    tasks = AdapterTasks(load_model(tiny_model, "cpu"), folders["default"])
    before = {n: p.clone() for n, p in tasks.model.named_parameters() if ".adapter." not in n}
    tasks.add(folders["other"], "other")
    for name in ("default", "other", "other", "default"):
        tasks.use(name)
        assert largest_difference(alone[name], logits(tasks.model, PROMPTS, "cpu")) == 0.0
    after = dict(tasks.model.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
