"""A run's family as a tree: the base model at its root, each run with what was measured of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.compare.address import MOST_RUNS, address
from app.drawing.words import figure_words
from app.i18n import N_, gettext, sentence
from app.lineage.judged import (
    ACCURACY,
    BEFORE,
    LATENCY,
    PERPLEXITY,
    QUALITIES,
    SIZE,
    SPEED,
    UNITS,
    Judged,
    judged,
)
from app.lineage.relatives import Given, Relatives, relatives_of
from app.models import Artifact, Run, User
from app.runs.labs_of import lab_of

TITLES: Mapping[str, str] = {
    ACCURACY: N_("Exact answers"),
    PERPLEXITY: N_("Perplexity"),
    SIZE: N_("Size on disk"),
    LATENCY: N_("Latency, mean"),
    SPEED: N_("Generation speed"),
}
BEFORE_WORDS = N_("before: {value}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure in words; `before` is of what the run started from, measured by the same run.

    Attributes:
        is_apart: Whether it was judged on other rows or in another way than the page's own run.
    """

    title: str
    value: str
    before: str = ""
    is_apart: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A run in the tree. Rendered by runs/show/_lineage.html.

    Attributes:
        via: The parameter by which it took the run above it; empty where it started from that.
        hidden: How many more runs were made from it that the reader may not see.
    """

    run: Run
    lab_title: str
    via: str
    is_current: bool
    figures: Sequence[Shown]
    given: Sequence[tuple[str, Given]]
    leaves: Sequence[Artifact]
    children: Sequence["Node"]
    hidden: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """The family of a run. Rendered by runs/show/_lineage.html.

    Attributes:
        hidden_above: Whether the root was made from a run that the reader may not see.
        compare: The address of all of them beside each other, where there are some.
    """

    base: str
    base_figures: Sequence[Shown]
    root: Node
    is_alone: bool
    hidden_above: bool
    is_cut: bool
    is_apart: bool
    compare: str


@dataclass(frozen=True, slots=True)
class _Material:
    family: Relatives
    judged: Mapping[UUID, Judged]
    leaves: Mapping[UUID, Sequence[Artifact]]


def lineage_of(session: Session, actor: User, run: Run) -> Lineage:
    """The tree of a run as its reader may see it."""
    family = relatives_of(session, actor, run)
    runs = family.runs
    found = _Material(family, judged(session, runs), _leaves(session, runs))
    root = _with_ancestors(found)
    return Lineage(
        base=run.base_model.name,
        base_figures=[] if family.hidden_above else _base_figures(root.run, found),
        root=root,
        is_alone=family.is_alone,
        hidden_above=family.hidden_above,
        is_cut=family.is_cut,
        is_apart=_any_apart(root),
        compare=address([each.id for each in runs][:MOST_RUNS]) if len(runs) > 1 else "",
    )


def _with_ancestors(found: _Material) -> Node:
    """Each ancestor has the one below it as its only child: others' branches are not this run's."""
    node = _node(found.family.run, "", found)
    for ancestor in reversed(found.family.above):
        above = _node(ancestor, "", found)
        node = replace(above, children=[node])
    return node


def _node(run: Run, via: str, found: _Material) -> Node:
    lab = lab_of(run)
    below = found.family.below.get(run.id, ())
    titles = {name: field.title or name for name, field in lab.params.model_fields.items()}
    return Node(
        run=run,
        lab_title=gettext(lab.title),
        via=gettext(titles.get(via, via)) if via else "",
        is_current=run.id == found.family.run.id,
        figures=_figures(run, found),
        given=[
            (gettext(titles.get(each.parameter, each.parameter)), each)
            for each in found.family.given.get(run.id, ())
        ],
        leaves=found.leaves.get(run.id, ()),
        children=[_node(child, how, found) for child, how in below],
        hidden=found.family.hidden.get(run.id, 0),
    )


def _figures(run: Run, found: _Material) -> list[Shown]:
    own, current = found.judged[run.id], found.judged[found.family.run.id]
    return [
        Shown(
            title=gettext(title),
            value=figure_words(own.values[key], UNITS[key]),
            before=_before(key, own),
            is_apart=key in QUALITIES and not own.compares(current, key),
        )
        for key, title in TITLES.items()
        if key in own.values
    ]


def _before(key: str, own: Judged) -> str:
    """Empty where nothing was measured before, or nothing changed."""
    value = own.values.get(BEFORE.get(key, ""))
    if value is None or value == own.values[key]:
        return ""
    return sentence(BEFORE_WORDS, {"value": figure_words(value, UNITS[key])})


def _base_figures(first: Run, found: _Material) -> list[Shown]:
    """Of the base model itself, as the first run of the family measured it."""
    own, current = found.judged[first.id], found.judged[found.family.run.id]
    return [
        Shown(
            title=gettext(TITLES[key]),
            value=figure_words(own.values[before], UNITS[key]),
            is_apart=key in QUALITIES and not own.compares(current, key),
        )
        for key, before in BEFORE.items()
        if before in own.values
    ]


def _leaves(session: Session, runs: Sequence[Run]) -> dict[UUID, list[Artifact]]:
    wanted = select(Artifact).where(Artifact.run_id.in_([run.id for run in runs]))
    found: dict[UUID, list[Artifact]] = {}
    for each in session.scalars(wanted.order_by(Artifact.created_at, Artifact.name)):
        found.setdefault(each.run_id, []).append(each)
    return found


def _any_apart(node: Node) -> bool:
    return any(each.is_apart for each in node.figures) or any(map(_any_apart, node.children))
