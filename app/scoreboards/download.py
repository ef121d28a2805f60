"""A scoreboard as a file for a spreadsheet: bare numbers, each with its unit in the heading."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from app.models import Run
from app.scoreboards.figures import Figures
from app.scoreboards.naming import method_name
from app.scoreboards.plan import RATE
from app.scoreboards.views import Measured
from labs.contract import Lab

ABOUT = (
    "lab", "method", "state", "cause", "run", "base_model", "dataset", "dataset_sha256", "seed",
    "code_version", "attempts", "device", RATE,
)  # fmt: skip
# A spreadsheet would take a text that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(found: Measured) -> str:
    """A heading and a row for each run, in the order they were started."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_heading(found))
    for run, lab in zip(found.runs, found.labs, strict=True):
        about = _about(run, lab, found.devices[run.id])
        writer.writerow([*map(_plain, about), *_values(found, found.figures[run.id])])
    return text.getvalue()


def _heading(found: Measured) -> list[str]:
    names = list(ABOUT)
    for each in found.headings:
        unit = f" ({each.unit})" if each.unit else ""
        names += [f"{each.name}{unit}", f"{each.name}_untouched{unit}", f"{each.name}_step"]
    return names


def _about(run: Run, lab: Lab, device: str) -> Sequence[Any]:
    return (
        run.lab,
        method_name(lab),
        run.state.value,
        run.cause or "",
        str(run.id),
        run.base_model.name,
        run.dataset.name,
        run.dataset.sha256,
        run.seed,
        run.environment.get("code_version") or run.code_version,
        run.attempt,
        device,
        run.params.get(RATE, ""),
    )


def _values(found: Measured, figures: Figures) -> Iterator[Any]:
    for each in found.headings:
        figure = figures.get(each.name)
        yield "" if figure is None else repr(figure.value)
        yield "" if figure is None or figure.base is None else repr(figure.base)
        yield "" if figure is None or figure.step is None else figure.step


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
