"""Which runs a run was built upon, and which were built upon it. One query a generation."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Select, case, literal, select, union_all
from sqlalchemy.orm import Session, joinedload

from app.access import visible
from app.models import LanguageModel, Run, RunResource, User

MOST_GENERATIONS = 16
MOST_RELATIVES = 60


@dataclass(frozen=True, slots=True)
class Edge:
    """A run made from another; `via` is the parameter that named that, empty for its start."""

    child: UUID
    of: UUID
    via: str
    is_visible: bool


@dataclass(frozen=True, slots=True)
class Given:
    """What a parameter of a run named beside its start, such as its teacher.

    Attributes:
        run_id: The run that left it, where the reader may see that one.
        name: Empty for a run that the reader may not see.
    """

    parameter: str
    name: str
    run_id: UUID | None


@dataclass(frozen=True, slots=True)
class Relatives:
    """A run's family as far as a reader may know it.

    Attributes:
        above: From the first ancestor to the parent.
        hidden_above: Whether the first of these was made from a run that the reader may not see.
        below: Descendants by the run they were made from; `hidden` counts those without a name.
        is_cut: Whether there are more than are listed.
    """

    run: Run
    above: Sequence[Run]
    hidden_above: bool
    below: Mapping[UUID, Sequence[tuple[Run, str]]]
    hidden: Mapping[UUID, int]
    given: Mapping[UUID, Sequence[Given]]
    is_cut: bool

    @property
    def runs(self) -> list[Run]:
        """All of them that the reader may see, ancestors first."""
        return [*self.above, self.run, *(run for runs in self.below.values() for run, _ in runs)]

    @property
    def is_alone(self) -> bool:
        return not (self.above or self.hidden_above or self.below or self.hidden or self.given)


@dataclass(slots=True)
class _Found:
    edges: list[Edge] = field(default_factory=list)
    is_cut: bool = False


def relatives_of(session: Session, actor: User, run: Run) -> Relatives:
    above, hidden_above = _ancestors(session, actor, run)
    found = _descendants(session, actor, run.id)
    runs = _runs(session, [edge.child for edge in found.edges if edge.is_visible])
    below: dict[UUID, list[tuple[Run, str]]] = {}
    hidden: dict[UUID, int] = {}
    for edge in found.edges:
        if edge.is_visible:
            below.setdefault(edge.of, []).append((runs[edge.child], edge.via))
        else:
            hidden[edge.of] = hidden.get(edge.of, 0) + 1
    ids = [run.id, *(each.id for each in above), *runs]
    given = given_to(session, actor, ids)
    is_cut = found.is_cut or len(above) == MOST_GENERATIONS
    return Relatives(run, above, hidden_above, below, hidden, given, is_cut)


def children_of(session: Session, actor: User, run_ids: Collection[UUID]) -> list[Edge]:
    """The runs made from these that are not deleted, the oldest first; each for one of them."""
    is_seen = case((visible(actor), 1), else_=0)
    started = select(Run.id, Run.parent_run_id, literal(""), is_seen).where(
        Run.parent_run_id.in_(run_ids), Run.deleted_at.is_(None)
    )
    used = (
        select(Run.id, RunResource.used_run_id, RunResource.name, is_seen)
        .join(RunResource, RunResource.run_id == Run.id)
        .where(RunResource.used_run_id.in_(run_ids), Run.deleted_at.is_(None))
    )
    rows = session.execute(union_all(started, used)).all()
    edges: dict[UUID, Edge] = {}
    for child, of, via, seen in sorted(rows, key=lambda row: (row[0], row[2])):
        edges.setdefault(child, Edge(child, of, via, bool(seen)))
    return list(edges.values())


def given_to(session: Session, actor: User, run_ids: Collection[UUID]) -> dict[UUID, list[Given]]:
    """The models that parameters of these runs name."""
    is_seen = case((visible(actor), 1), else_=0)
    rows = session.execute(
        select(RunResource, LanguageModel.name, Run.id, Run.name, is_seen)
        .outerjoin(LanguageModel, LanguageModel.id == RunResource.model_id)
        .outerjoin(Run, Run.id == RunResource.used_run_id)
        .where(RunResource.run_id.in_(run_ids), RunResource.dataset_id.is_(None))
        .order_by(RunResource.run_id, RunResource.name)
    )
    found: dict[UUID, list[Given]] = {}
    for row, model, used, name, seen in rows:
        told = Given(row.name, model or (name if seen else ""), used if seen else None)
        found.setdefault(row.run_id, []).append(told)
    return found


def _ancestors(session: Session, actor: User, run: Run) -> tuple[list[Run], bool]:
    """From the first to the parent, and whether one above them is hidden from the reader."""
    chain: list[Run] = []
    wanted = run.parent_run_id
    while wanted is not None and len(chain) < MOST_GENERATIONS:
        parent = session.scalar(_whole().where(Run.id == wanted, visible(actor)))
        if parent is None:
            return chain[::-1], True
        chain.append(parent)
        wanted = parent.parent_run_id
    return chain[::-1], False


def _descendants(session: Session, actor: User, run_id: UUID) -> _Found:
    """Not through runs that the reader may not see: whose theirs are is nobody's business."""
    found, generation, known = _Found(), [run_id], {run_id}
    for _ in range(MOST_GENERATIONS):
        edges = [
            edge for edge in children_of(session, actor, generation) if edge.child not in known
        ]
        room = MOST_RELATIVES - len(found.edges)
        found.edges += edges[:room]
        known |= {edge.child for edge in edges}
        generation = [edge.child for edge in edges[:room] if edge.is_visible]
        if len(edges) > room:
            found.is_cut = True
        if not generation:
            return found
    found.is_cut = True
    return found


def _runs(session: Session, ids: Sequence[UUID]) -> dict[UUID, Run]:
    if not ids:
        return {}
    return {run.id: run for run in session.scalars(_whole().where(Run.id.in_(ids)))}


def _whole() -> Select[Run]:
    inputs = (joinedload(Run.owner), joinedload(Run.base_model), joinedload(Run.dataset))
    return select(Run).options(*inputs)
