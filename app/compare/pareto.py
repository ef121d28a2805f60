"""Quality against what it costs, over any runs whose quality was judged alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from app.i18n import N_, gettext
from app.lineage.judged import (
    ACCURACY,
    BEFORE,
    DIRECTIONS,
    LATENCY,
    MEMORY,
    PERPLEXITY,
    QUALITIES,
    SIZE,
    SPEED,
    UNITS,
    Judged,
    judged,
)
from app.models import Run
from app.scoreboards.columns import Heading
from app.scoreboards.figures import Figure
from app.scoreboards.tradeoff import Entry, Tradeoff, tradeoff_of

# By the names that stand in addresses.
NAMES: Mapping[str, str] = {
    "accuracy": ACCURACY,
    "perplexity": PERPLEXITY,
    "size": SIZE,
    "latency": LATENCY,
    "speed": SPEED,
    "memory": MEMORY,
}
TITLES: Mapping[str, str] = {
    ACCURACY: N_("Exact answers"),
    PERPLEXITY: N_("Perplexity"),
    SIZE: N_("Size on disk"),
    LATENCY: N_("Latency, mean"),
    SPEED: N_("Generation speed"),
    MEMORY: N_("Peak memory"),
}
COSTS = tuple(name for name, key in NAMES.items() if key not in QUALITIES)
LONGEST_NAME = 28
KEPT_END = 4
# A picture of one run compares nothing.
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Pareto:
    """The card of a comparison. Rendered by compare/_pareto.html.

    Attributes:
        apart: Runs whose quality was judged on other rows or in another way.
    """

    tradeoff: Tradeoff
    apart: Sequence[str]
    ids: str


def pareto_of(
    session: Session, runs: Sequence[Run], quality: str = "", cost: str = ""
) -> Pareto | None:
    """The chosen picture, or the first that was measured of two runs; None without any."""
    found = judged(session, runs)
    wanted = [quality] if quality in NAMES else []
    for name in dict.fromkeys((*wanted, *(n for n, key in NAMES.items() if key in QUALITIES))):
        alike = _alike(runs, found, NAMES[name])
        if len(alike) >= FEWEST and (tradeoff := _tradeoff(alike, found, name, cost)):
            measured = [run for run in runs if NAMES[name] in found[run.id].values]
            apart = [run.name for run in measured if run not in alike]
            return Pareto(tradeoff, apart, ",".join(str(run.id) for run in runs))
    return None


def _alike(runs: Sequence[Run], found: Mapping[UUID, Judged], key: str) -> list[Run]:
    """Of those that measured it, the largest part whose figures compare; the first of equals."""
    measured = [run for run in runs if key in found[run.id].values]
    ways = Counter(found[run.id].on[key] for run in measured)
    if not ways:
        return []
    (most, _), *_ = ways.most_common(1)
    return [run for run in measured if found[run.id].on[key] == most]


def _tradeoff(
    runs: Sequence[Run], found: Mapping[UUID, Judged], quality: str, cost: str
) -> Tradeoff | None:
    entries = [
        Entry(str(run.id), name, _figures(found[run.id]))
        for run, name in zip(runs, _names(runs), strict=True)
    ]
    if len({entry.figures[quality].base for entry in entries}) > 1:
        # They started from different models: there is no one line to draw.
        entries = [Entry(e.slug, e.name, _without_base(e.figures)) for e in entries]
    return tradeoff_of(entries, headings(), cost, quality, COSTS)


def _figures(found: Judged) -> dict[str, Figure]:
    return {
        name: Figure(found.values[key], found.values.get(BEFORE.get(key, "")))
        for name, key in NAMES.items()
        if key in found.values
    }


def _without_base(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    return {name: Figure(figure.value) for name, figure in figures.items()}


def _names(runs: Sequence[Run]) -> list[str]:
    """Short names that tell them apart: two of one name have the end of their ids, too."""
    short = [shorten(run.name) for run in runs]
    known = Counter(short)
    return [
        name if known[name] == 1 else f"{name} {str(run.id)[-4:]}"
        for name, run in zip(short, runs, strict=True)
    ]


def shorten(name: str) -> str:
    """A name that has room beside its point; its end stays, where the number stands."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - KEPT_END - 1].rstrip()}…{name[-KEPT_END:]}"


def headings() -> list[Heading]:
    """The axes there are, in words."""
    return [
        Heading(name, gettext(TITLES[key]), key, UNITS[key], DIRECTIONS[key], "", key in QUALITIES)
        for name, key in NAMES.items()
    ]
