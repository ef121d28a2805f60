"""The notebook of a run is valid, readable and does what the run did."""

import json
from pathlib import Path
from typing import Any

import pytest

from labs import registry
from labs.common import latency
from labs.contract import Json, Lab
from labs.notebook import Recipe, notebook

LABS = registry.all_labs()


def recipe(model: str, dataset: str, slug: str = "lora") -> Recipe:
    lab = registry.get(slug)
    own = {"rank": 2} if slug == "lora" else {}
    small = {"steps": 2, "batch_size": 2, "max_length": 64, **own}
    own_fields = {name: value for name, value in small.items() if name in lab.params.model_fields}
    return Recipe(
        lab=lab,
        params=lab.params.model_validate(own_fields),
        seed=3,
        model=model,
        dataset=dataset,
        versions={"torch": "2.13.0"},
        results={"eval/accuracy": 0.5},
    )


def code_of(made: Json) -> list[str]:
    return ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_of_format_four() -> None:
    made = json.loads(json.dumps(notebook(recipe("base", "tickets"))))
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    for cell in made["cells"]:
        assert {"cell_type", "id", "metadata", "source"} <= set(cell)
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.slug)
def test_every_lab_gets_its_own_parameters_and_stages(lab: Lab) -> None:
    given = recipe("base", "tickets", lab.slug)
    first, *others = code_of(notebook(given))
    world: dict[str, Any] = {}
    exec(first, world)
    assert world["params"] == given.params
    for stage in lab.stages:
        module, _, function = stage.target.partition(":")
        assert any(f"from {module} import {function}\n" in cell for cell in others)


def test_it_names_parameters_seed_versions_and_sources() -> None:
    made = notebook(recipe("base", "tickets"))
    text = "".join("".join(cell["source"]) for cell in made["cells"])
    assert "rank=2,  # Rank r" in text
    assert "seed=3" in text
    assert "torch 2.13.0" in text
    assert "arXiv:2106.09685" in text


def test_running_its_cells_runs_the_lab(
    tiny_model: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(latency, "GENERATIONS", 3)
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    world: dict[str, Any] = {}
    for cell in code_of(notebook(recipe(str(tiny_model), str(tiny_dataset), "full"))):
        exec(cell, world)
    assert (tmp_path / "artifacts" / "model" / "manifest.json").exists()
