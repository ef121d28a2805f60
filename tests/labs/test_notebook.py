"""The notebook of a run is valid, readable and does what the run did."""

import json
from pathlib import Path
from typing import Any

import pytest

from labs import registry
from labs.common import latency
from labs.contract import Json
from labs.notebook import Recipe, notebook

LAB = registry.get("lora")


def recipe(model: str, dataset: str, **params: Any) -> Recipe:
    given = {"steps": 2, "batch_size": 2, "max_length": 64, "rank": 2, **params}
    return Recipe(
        lab=LAB,
        params=LAB.params.model_validate(given),
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
    for cell in code_of(notebook(recipe(str(tiny_model), str(tiny_dataset)))):
        exec(cell, world)
    assert (tmp_path / "artifacts" / "merged" / "manifest.json").exists()
