"""Every SELECT of runs for people. All of them pass `visible(actor)`."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from app.access import usable, visible
from app.errors import FieldError, InvalidInput, NotFound
from app.i18n import N_
from app.identities import as_uuid
from app.models import (
    Artifact,
    Attempt,
    Dataset,
    LanguageModel,
    Run,
    RunEvent,
    RunState,
    User,
)

LARGEST_PAGE = 200


def get_run(session: Session, actor: User, run_id: UUID) -> Run:
    """One run with its owner and inputs; `NotFound` when it is none of the actor's business."""
    run = session.scalar(_listed(actor).where(Run.id == run_id))
    if run is None:
        raise NotFound(N_("There is no such run."))
    return run


def list_runs(
    session: Session,
    actor: User,
    *,
    state: RunState | None = None,
    lab: str | None = None,
    owner: UUID | None = None,
    classroom: UUID | None = None,
    search: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[Sequence[Run], str | None]:
    """A page of runs, newest first, and the cursor of the next page (None after the last)."""
    statement = _listed(actor)
    equal = {Run.state: state, Run.lab: lab, Run.owner_id: owner, Run.classroom_id: classroom}
    for column, wanted in equal.items():
        if wanted is not None:
            statement = statement.where(column == wanted)
    if search:
        statement = statement.where(_found_by(search))
    if cursor:
        statement = statement.where(Run.id < _cursor(cursor))
    limit = max(1, min(limit, LARGEST_PAGE))
    runs = session.scalars(statement.order_by(Run.id.desc()).limit(limit + 1)).all()
    page = runs[:limit]
    return page, str(page[-1].id) if len(runs) > limit else None


def live(session: Session, actor: User) -> Sequence[Run]:
    """Runs on devices that the actor may see, oldest first."""
    statement = _listed(actor).where(Run.state.in_([RunState.ASSIGNED, RunState.RUNNING]))
    return session.scalars(statement.order_by(Run.device, Run.assigned_at)).all()


def count_waiting(session: Session) -> int:
    """How many runs wait in all; a number that everybody may know."""
    counted = select(func.count()).select_from(Run).where(Run.state == RunState.QUEUED)
    return session.scalar(counted) or 0


def events(
    session: Session, run_id: UUID, after_seq: int = 0, kinds: Collection[str] | None = None
) -> Sequence[RunEvent]:
    """What a run showed or became after an event, in order. The run itself was found by get_run."""
    statement = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.seq > after_seq)
    if kinds is not None:
        statement = statement.where(RunEvent.kind.in_(kinds))
    return session.scalars(statement.order_by(RunEvent.seq)).all()


def artifacts(session: Session, run_id: UUID) -> Sequence[Artifact]:
    """The complete artifacts of a run, oldest first."""
    statement = select(Artifact).where(Artifact.run_id == run_id)
    return session.scalars(statement.order_by(Artifact.created_at, Artifact.name)).all()


def attempts(session: Session, run_id: UUID) -> Sequence[Attempt]:
    """Every try at a run, first to last."""
    statement = select(Attempt).where(Attempt.run_id == run_id)
    return session.scalars(statement.order_by(Attempt.number)).all()


def datasets_for(actor: User) -> Select[Dataset]:
    """The datasets an actor may use."""
    return select(Dataset).where(usable(actor))


def find_model(session: Session, name_or_id: str) -> LanguageModel | None:
    """A base model by its name, else by its id."""
    if "\0" in name_or_id:
        return None
    named = session.scalar(select(LanguageModel).where(LanguageModel.name == name_or_id))
    identity = as_uuid(name_or_id)
    return named or (session.get(LanguageModel, identity) if identity else None)


def may_open(session: Session, actor: User, dataset_id: UUID) -> bool:
    """Whether the actor may look at a dataset that a run of theirs, or of a student, learns from."""
    return (
        session.scalar(select(datasets_for(actor).where(Dataset.id == dataset_id).exists()))
        or False
    )


def find_dataset(session: Session, actor: User, name_or_id: str) -> Dataset | None:
    """A dataset the actor may use, by id, else by name.

    Of one name, their own newest comes first, then the one that comes with Bunsen: what others
    share takes nobody's name away.
    """
    if "\0" in name_or_id:  # Postgres refuses to look for it
        return None
    identity = as_uuid(name_or_id)
    wanted = Dataset.id == identity if identity else Dataset.name == name_or_id
    is_others = Dataset.owner_id.is_distinct_from(actor.id)
    order = (is_others, Dataset.owner_id.is_not(None), Dataset.id.desc())
    return session.scalars(datasets_for(actor).where(wanted).order_by(*order).limit(1)).first()


def _listed(actor: User) -> Select[Run]:
    inputs = (joinedload(Run.owner), joinedload(Run.base_model), joinedload(Run.dataset))
    return select(Run).where(visible(actor)).options(*inputs)


def _found_by(search: str) -> ColumnElement[bool]:
    return or_(
        Run.name.icontains(search, autoescape=True), Run.lab.icontains(search, autoescape=True)
    )


def _cursor(text: str) -> UUID:
    found = as_uuid(text)
    if found is None:
        raise InvalidInput([FieldError("cursor", N_("This cursor is not one of ours."))])
    return found
