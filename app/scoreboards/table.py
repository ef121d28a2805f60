"""The rows of a scoreboard: one a method, sorted, the best values marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.compare.views import best_places
from app.drawing.words import figure_words
from app.forms import as_text
from app.i18n import N_, gettext, sentence, told
from app.models import Run, RunState
from app.runs.causes import CAUSES
from app.runs.labs_of import lab_of
from app.runs.stages import progress_fraction
from app.scoreboards.columns import Heading
from app.scoreboards.figures import Figure, Figures
from app.scoreboards.naming import method_name
from app.scoreboards.plan import RATE
from labs.contract import Cause


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as text; `base` is the untouched model's. All empty where nothing was measured."""

    text: str = ""
    base: str = ""
    note: str = ""
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One method. `ended` says why there is no result, or none yet."""

    run: Run
    name: str
    rate: str
    fraction: float | None
    ended: str
    device: str
    cells: Sequence[Cell]


def lines_of(
    runs: Sequence[Run],
    figures: Mapping[UUID, Figures],
    headings: Sequence[Heading],
    devices: Mapping[UUID, str],
) -> list[Line]:
    """A line for each run, in their order."""
    best = {each.name: _best(runs, figures, each) for each in headings}
    return [
        Line(
            run=run,
            name=method_name(lab_of(run)),
            rate=as_text(run.params.get(RATE)),
            fraction=progress_fraction(run) if run.state is RunState.RUNNING else None,
            ended=ended_words(run),
            device=devices[run.id],
            cells=[
                _cell(figures[run.id].get(each.name), each, run.id in best[each.name])
                for each in headings
            ],
        )
        for run in runs
    ]


def _best(
    runs: Sequence[Run], figures: Mapping[UUID, Figures], heading: Heading
) -> frozenset[UUID]:
    """Of the runs that succeeded: who has not finished has not won."""
    over = [run for run in runs if run.state is RunState.SUCCEEDED]
    values = [value_of(figures[run.id], heading.name) for run in over]
    return frozenset(over[place].id for place in best_places(values, heading.direction))


def value_of(figures: Figures, name: str) -> float | None:
    figure = figures.get(name)
    return figure.value if figure else None


def _cell(figure: Figure | None, heading: Heading, is_best: bool) -> Cell:
    if figure is None:
        return Cell()
    return Cell(
        text=figure_words(figure.value, heading.unit),
        base="" if figure.base is None else figure_words(figure.base, heading.unit),
        note=_note(figure),
        is_best=is_best,
    )


def _note(figure: Figure) -> str:
    if figure.count > 1:
        return sentence(N_("of {count} values"), {"count": figure.count})
    if figure.step is None:
        return ""
    return sentence(N_("at step {step}"), {"step": figure.step})


def ended_words(run: Run) -> str:
    """Why a run gave no result: what the lab said of it, else its cause in words."""
    if run.state in (RunState.SUCCEEDED, RunState.RUNNING, RunState.ASSIGNED):
        return ""
    if run.reason:
        return told(run.reason)
    return gettext(CAUSES[Cause(run.cause)].title) if run.cause in set(Cause) else ""


def in_order(
    lines: Sequence[Line],
    figures: Mapping[UUID, Figures],
    headings: Sequence[Heading],
    column: str,
    is_reversed: bool,
) -> list[Line]:
    """Best first by this column, or worst first; then who has not finished, or has no value."""
    heading = next((each for each in headings if each.name == column), headings[0])
    sign = -1 if (heading.direction == "higher") != is_reversed else 1

    def rank(line: Line) -> tuple[bool, bool, float]:
        value = value_of(figures[line.run.id], heading.name)
        return line.run.state is not RunState.SUCCEEDED, value is None, sign * (value or 0.0)

    return sorted(lines, key=rank)
