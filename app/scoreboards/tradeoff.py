"""Quality against a cost: what may be chosen, the picture, and the same in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.drawing.pareto import dominated, front
from app.drawing.picture import Picture, Scale, Shown, draw, points_of
from app.drawing.words import direction_words, figure_words, front_words
from app.i18n import N_, gettext, sentence
from app.scoreboards.columns import COSTS, Heading
from app.scoreboards.figures import Figures

# In units of the drawing: a broad one, and one that a phone shows without shrinking letters.
BROAD, SLIM = (760.0, 400.0), (342.0, 350.0)
UNTOUCHED = N_("Untouched model: {value}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A method with a result."""

    slug: str
    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """One quality against one cost. Rendered by scoreboards/_tradeoff.html.

    Attributes:
        pictures: The same drawing for broad and for slim pages, with its class.
        left_out: Methods whose run measured one of the two not at all.
        best: Labs on the front; `beaten` has the others, each with those of the front that beat it.
    """

    cost: Heading
    quality: Heading
    costs: Sequence[Heading]
    qualities: Sequence[Heading]
    pictures: Sequence[tuple[str, Picture]]
    x_title: str
    y_title: str
    told: Sequence[str]
    untouched: str
    left_out: Sequence[str]
    best: Sequence[str]
    beaten: Mapping[str, Sequence[str]]


def tradeoff_of(
    entries: Sequence[Entry],
    headings: Sequence[Heading],
    cost: str,
    quality: str,
    of_costs: Sequence[str] = COSTS,
) -> Tradeoff | None:
    """The chosen picture, or the first that something was measured for; None without any."""
    costs = [each for each in headings if each.name in of_costs and _is_measured(each, entries)]
    qualities = [each for each in headings if each.is_quality and _is_measured(each, entries)]
    if not costs or not qualities:
        return None
    x, y = _chosen(costs, cost), _chosen(qualities, quality)
    able = [each for each in entries if {x.name, y.name} <= set(each.figures)]
    if not able:
        return None
    shown = [Shown(e.slug, e.name, e.figures[x.name].value, e.figures[y.name].value) for e in able]
    points = points_of(shown, y.direction, x.direction)
    named = [Shown(e.label, e.label, e.cost, e.quality) for e in shown]
    base = _untouched(y, able[0].figures)
    drawn = [
        (kind, draw(shown, _scale(x), _scale(y), figure_words, size, base))
        for kind, size in (("broad", BROAD), ("slim", SLIM))
    ]
    return Tradeoff(
        cost=x,
        quality=y,
        costs=costs,
        qualities=qualities,
        pictures=drawn,
        x_title=_title(x, drawn[0][1].logarithmic),
        y_title=_title(y, False),
        told=front_words(points_of(named, y.direction, x.direction)),
        untouched=base[1] if base else "",
        left_out=[each.name for each in entries if each not in able],
        best=[each.name for each in front(points)],
        beaten={e.point.name: [by.name for by in e.by] for e in dominated(points)},
    )


def _is_measured(heading: Heading, entries: Sequence[Entry]) -> bool:
    return any(heading.name in each.figures for each in entries)


def _chosen(offered: Sequence[Heading], name: str) -> Heading:
    return next((each for each in offered if each.name == name), offered[0])


def _untouched(quality: Heading, figures: Figures) -> tuple[float, str] | None:
    """It is the same for all: any of them has measured it."""
    base = figures[quality.name].base
    if base is None:
        return None
    return base, sentence(UNTOUCHED, {"value": figure_words(base, quality.unit)})


def _scale(heading: Heading) -> Scale:
    return Scale(heading.unit, heading.direction)


def _title(heading: Heading, logarithmic: bool) -> str:
    parts = [heading.title, direction_words(heading.direction)]
    parts += [gettext(N_("logarithmic"))] if logarithmic else []
    return " · ".join(filter(None, parts))
