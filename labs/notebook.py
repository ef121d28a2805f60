"""A run as a notebook that does the same again, stage by stage. Imports no torch."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labs import bundled
from labs.contract import Json, Lab, Params, Stage

NBFORMAT, NBFORMAT_MINOR = 4, 5


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a notebook needs to repeat a run. `versions` and `results` are shown only."""

    lab: Lab
    params: Params
    seed: int
    model: str
    dataset: str
    versions: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, float] = field(default_factory=dict)


def notebook(recipe: Recipe) -> Json:
    """The notebook as a dict in Jupyter's format 4.5; `json.dumps` makes the file."""
    cells = [
        {**cell, "id": f"cell-{number:02d}"} for number, cell in enumerate(_cells(recipe), start=1)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": NBFORMAT,
        "nbformat_minor": NBFORMAT_MINOR,
    }


def _cells(recipe: Recipe) -> Iterator[Json]:
    yield _markdown(_introduction(recipe))
    yield _code(_parameters(recipe))
    yield _code(_opening(recipe))
    for stage in recipe.lab.stages:
        yield _markdown(f"## {stage.title}\n\n{stage.summary}")
        yield _code(_call(stage))
    yield _markdown("## Result")
    yield _code(_closing(recipe.lab))


def _introduction(recipe: Recipe) -> str:
    lab = recipe.lab
    sources = "\n".join(
        f"- {s.authors} ({s.year}). *{s.title}*. arXiv:{s.arxiv}" for s in lab.sources
    )
    measured = "".join(f"\n| {key} | {value:.6g} |" for key, value in recipe.results.items())
    table = (
        f"\n\nThe run this notebook repeats measured:\n\n| metric | value |\n|---|---|{measured}"
        if measured
        else ""
    )
    made_with = ", ".join(f"{name} {version}" for name, version in recipe.versions.items())
    versions = f"\n\nMade with {made_with}." if made_with else ""
    return (
        f"# {lab.title}\n\n{lab.summary}{table}{versions}\n\n"
        "Run it from the root of Bunsen, in Bunsen's Python environment.\n\n"
        f"{sources}"
    )


def _parameters(recipe: Recipe) -> str:
    params = type(recipe.params)
    lines = [
        f"    {name}={getattr(recipe.params, name)!r},{_comment(field.title)}"
        for name, field in params.model_fields.items()
    ]
    given = "\n".join(lines)
    return f"from {params.__module__} import {params.__name__}\n\nparams = {params.__name__}(\n{given}\n)\nparams"


def _comment(title: str | None) -> str:
    return f"  # {title}" if title else ""


def _opening(recipe: Recipe) -> str:
    return (
        "import tempfile\n"
        "from pathlib import Path\n\n"
        "from labs import bundled\n"
        "from labs.session import Session\n\n"
        f"model = {_place(recipe.model, 'models', bundled.models())}\n"
        f"dataset = {_place(recipe.dataset, 'datasets', bundled.datasets())}\n"
        'folder = Path(tempfile.mkdtemp(prefix="bunsen-"))\n'
        f"session = Session({recipe.lab.slug!r}, params, model, dataset, folder, seed={recipe.seed})\n"
        "folder"
    )


def _place(name: str, kind: str, known: Mapping[str, Path]) -> str:
    if name in known:
        return f"bundled.{kind}()[{json.dumps(name)}]"
    return f"Path({json.dumps(name, ensure_ascii=False)})  # set this to where it lies"


def _call(stage: Stage) -> str:
    module, _, function = stage.target.partition(":")
    return f"from {module} import {function}\n\nsession.run({function})"


def _closing(lab: Lab) -> str:
    return (
        "from labs.events import read_events\n\n"
        "for event in read_events(folder):\n"
        f'    if event["kind"] == "metrics" and {lab.headline!r} in event["values"]:\n'
        f'        print(event["step"], event["values"][{lab.headline!r}])\n'
        'sorted(str(path.relative_to(folder)) for path in folder.glob("artifacts/*/*"))'
    )


def _markdown(text: str) -> Json:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str) -> Json:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": text.splitlines(keepends=True),
    }
