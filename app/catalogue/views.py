"""The pages of labs and the form that starts a run: what their templates are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from markupsafe import Markup
from sqlalchemy.orm import Session

from app import i18n
from app.catalogue import queries
from app.forms import Field, Values, param_fields
from app.i18n import N_, gettext
from app.models import Run, User
from app.runs.queries import list_runs
from app.sweeps.ready import ReadySweep, ready_sweep
from labs import registry
from labs.contract import Chapter, Lab

CHAPTER_TITLES: Mapping[Chapter, str] = {
    "training": N_("Core training techniques"),
    "compression": N_("Model compression"),
}
RUNS_SHOWN = 5
# Modules of parameters that many labs share.
COMMON = "common.params"
# The same for everybody's first run, so that a second one differs by what was changed alone.
DEFAULT_SEED = "0"


@dataclass(frozen=True, slots=True)
class LabCard:
    """A lab in the list, with how often this person has run it."""

    lab: Lab
    runs: int


@dataclass(frozen=True, slots=True)
class LabsPage:
    """All labs, chapter by chapter. Rendered by labs/index.html."""

    chapters: Sequence[tuple[str, Sequence[LabCard]]]


@dataclass(frozen=True, slots=True)
class LabPage:
    """One lab: theory, stages, what it shows. Rendered by labs/show.html."""

    lab: Lab
    chapter: str
    text: Markup
    presets: Sequence[str]
    runs: Sequence[Run]
    parameters: Sequence[Field]
    key: str
    seed: str
    sweep: ReadySweep | None


def labs_page(session: Session, actor: User) -> LabsPage:
    counts = queries.runs_per_lab(session, actor)
    cards = [LabCard(lab, counts.get(lab.slug, 0)) for lab in registry.all_labs()]
    chapters = [
        (gettext(title), [card for card in cards if card.lab.chapter == chapter])
        for chapter, title in CHAPTER_TITLES.items()
    ]
    return LabsPage(chapters=[(title, found) for title, found in chapters if found])


def lab_page(session: Session, actor: User, lab: Lab) -> LabPage:
    # Markdown and its colours are loaded with the first page that shows theory.
    from app.catalogue.theory import theory

    runs, _cursor = list_runs(session, actor, lab=lab.slug, owner=actor.id, limit=RUNS_SHOWN)
    return LabPage(
        lab=lab,
        chapter=gettext(CHAPTER_TITLES[lab.chapter]),
        text=theory(lab, i18n.language()),
        presets=list(lab.presets),
        runs=runs,
        parameters=own_fields(lab),
        key=uuid4().hex,
        seed=DEFAULT_SEED,
        sweep=ready_sweep(lab, seed=DEFAULT_SEED),
    )


def own_fields(lab: Lab) -> list[Field]:
    """The lab's own parameters, for the table of its page."""
    own = own_names(lab)
    return [field for field in param_fields(lab.params, Values()) if field.name in own]


def own_names(lab: Lab) -> frozenset[str]:
    """Names of the parameters that are not common to many labs, or that it starts elsewhere."""
    parts = [each for each in lab.params.__mro__ if not each.__module__.endswith(COMMON)]
    named = (name for part in parts for name in vars(part).get("__annotations__", {}))
    return frozenset(named) & frozenset(lab.params.model_fields)
