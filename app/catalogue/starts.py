"""What a run could begin with or be given: models of the library, and what earlier runs left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import visible
from app.datasets.views import title_of
from app.forms import Field
from app.i18n import N_, gettext, sentence
from app.identities import as_uuid
from app.models import Artifact, Dataset, LanguageModel, Run, RunState, User
from app.runs.queries import datasets_for
from labs.contract import WHOLE_MODELS, Lab, resource_kinds
from labs.formats import SUPERVISED

# How a choice names an earlier run beside the ids of models.
RUN = "run:"
MOST_RUNS = 30


@dataclass(frozen=True, slots=True)
class Left:
    """An earlier run of the person's own that left a model."""

    run_id: UUID
    name: str
    kind: str


def models_left(session: Session, actor: User, kinds: frozenset[str], also: str = "") -> list[Left]:
    """The newest runs of one's own that left an artifact of these kinds, and one that is named.

    Args:
        also: The id of a run that may be another person's, where the actor may see it.
    """
    if not kinds:
        return []
    left = (
        select(Run.id, Run.name, Artifact.kind)
        .join(Artifact, Artifact.run_id == Run.id)
        .where(Run.state == RunState.SUCCEEDED, Run.deleted_at.is_(None), Artifact.kind.in_(kinds))
        .order_by(Run.id.desc(), Artifact.created_at.desc())
    )
    found = session.execute(left.where(Run.owner_id == actor.id).limit(2 * MOST_RUNS)).all()
    named = as_uuid(also)
    if named is not None and named not in {row.id for row in found}:
        extra = session.execute(left.where(Run.id == named, visible(actor))).all()
        found = [*extra, *found]
    unique = {row.id: Left(row.id, row.name, row.kind) for row in reversed(found)}
    return list(unique.values())[::-1][:MOST_RUNS]


def with_runs(field: Field, left: Sequence[Left], parent: str) -> Field:
    """The choice of a base model with the models that runs left behind it; a parent is chosen."""
    choices = [*field.choices, *((f"{RUN}{each.run_id}", _title(each)) for each in left)]
    chosen = f"{RUN}{parent}" if parent else field.value
    if chosen.startswith(RUN) and chosen not in dict(choices):
        # It is gone, or left nothing for this lab: whoever sends it is told so, and what to do.
        choices.append((chosen, chosen[:80]))
    return replace(field, choices=choices, value=chosen)


def resource_fields(
    session: Session,
    actor: User,
    lab: Lab,
    fields: Sequence[Field],
    models: Sequence[LanguageModel],
) -> list[Field]:
    """Parameters that name a model or a dataset, as choices of what there is."""
    kinds = resource_kinds(lab.params)
    return [
        _as_choice(session, actor, each, kinds[each.name], models) if each.name in kinds else each
        for each in fields
    ]


def _as_choice(
    session: Session, actor: User, field: Field, kind: str, models: Sequence[LanguageModel]
) -> Field:
    if kind == "model":
        choices = [(each.name, each.name) for each in models]
        left = models_left(session, actor, WHOLE_MODELS, also=field.value)
        choices += [(str(each.run_id), _title(each)) for each in left]
    else:
        choices = _texts(session, actor)
    choices = [("", gettext(N_("none"))), *choices]
    if field.value not in dict(choices):
        # What was typed, or is gone since: it stays to be seen beside its error.
        choices.append((field.value, field.value[:80]))
    return replace(field, kind="select", choices=choices)


def _texts(session: Session, actor: User) -> list[tuple[str, str]]:
    readable = datasets_for(actor).where(Dataset.format.in_(sorted(SUPERVISED | {"text"})))
    order = (Dataset.format != "text", Dataset.name, Dataset.created_at.desc())
    return [
        (each.name if each.bundled else str(each.id), title_of(each))
        for each in session.scalars(readable.order_by(*order))
    ]


def _title(left: Left) -> str:
    kinds: Mapping[str, str] = {
        "merged": N_("{name} (merged)"),
        "quantized": N_("{name} (quantized)"),
    }
    return sentence(kinds.get(left.kind, N_("{name} (from a run)")), {"name": left.name})
