"""What differs between runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.forms import as_text
from app.i18n import N_, gettext
from app.models import Run
from labs.contract import Lab

INPUTS: Mapping[str, tuple[str, Callable[[Run], str]]] = {
    "lab": (N_("Lab"), lambda run: run.lab),
    "base_model": (N_("Base model"), lambda run: run.base_model.name),
    "dataset": (N_("Dataset"), lambda run: gettext(run.dataset.title) or run.dataset.name),
    "seed": (N_("Seed"), lambda run: str(run.seed)),
    "stages": (N_("Stages"), lambda run: ", ".join(map(str, run.stages))),
    "code_version": (N_("Lab code"), lambda run: run.code_version),
}


@dataclass(frozen=True, slots=True)
class VariedRow:
    """Something that is not the same in all runs."""

    title: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class Varied:
    """All that differs. Exactly one row makes the comparison easy to read."""

    rows: Sequence[VariedRow]

    @property
    def only(self) -> VariedRow | None:
        return self.rows[0] if len(self.rows) == 1 else None


def varied(runs: Sequence[Run], labs: Mapping[str, Lab]) -> Varied:
    titles = {
        name: gettext(field.title or name)
        for lab in labs.values()
        for name, field in lab.params.model_fields.items()
    }
    names = dict.fromkeys(name for run in runs for name in run.params)
    rows = [
        VariedRow(gettext(title), [read(run) for run in runs]) for title, read in INPUTS.values()
    ]
    rows += [
        VariedRow(titles.get(name, name), [as_text(run.params.get(name)) for run in runs])
        for name in names
    ]
    return Varied([row for row in rows if len(set(row.values)) > 1])
