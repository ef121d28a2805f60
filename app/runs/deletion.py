"""Deleting a run that is over: what it left goes, and nobody sees it any more.

Its attempts stay, because they count as use. A run that another was made from is not deleted.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, can, require
from app.audit.record import record
from app.database import after_commit, reading
from app.errors import Conflict, InUse, NotFound
from app.i18n import N_
from app.lineage.relatives import children_of
from app.models import (
    OVER,
    Artifact,
    EndpointKey,
    MetricChunk,
    MetricLatest,
    Run,
    RunEvent,
    RunResource,
    User,
)
from app.runs.queries import get_run
from app.settings import get_settings

# What a run left or was given, row by row.
LEFT = (RunEvent, MetricChunk, MetricLatest, Artifact, RunResource)
# A folder of this name is nobody's any more; whoever finds it removes it.
DELETED = ".deleted-"
NAMED = 10


@dataclass(frozen=True, slots=True)
class Users:
    """Runs that were made from one: those that the reader may see, and how many others."""

    named: Sequence[tuple[UUID, str]]
    others: int

    def __bool__(self) -> bool:
        return bool(self.named or self.others)

    def refusal(self) -> InUse:
        names = ", ".join(name for _, name in self.named[:NAMED])
        names += " …" if len(self.named) > NAMED else ""
        values = {"names": names, "count": self.others}
        return InUse(self._sentence(), self.named, self.others, **values)

    def _sentence(self) -> str:
        if not self.others:
            return N_(
                "This run stays: these were made from what it left: {names}. Delete them first."
            )
        if not self.named:
            return N_("This run stays: {count} of other people's were made from what it left.")
        return N_(
            "This run stays: these were made from what it left: {names}, and {count} of other people's."
        )


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is asked before a run is deleted. Rendered by runs/_delete.html."""

    run: Run
    used_by: Users


def deletion_of(session: Session, actor: User, run: Run) -> Deletion | None:
    """What to ask whoever may delete this run now; None for others."""
    if not run.state.is_over or not can(actor, Action.DELETE_RUN, run.owner_id):
        return None
    return Deletion(run, users_of(session, actor, run.id))


def users_of(session: Session, actor: User, run_id: UUID) -> Users:
    """The runs that were started from what this one left, or were given it, and are not deleted."""
    edges = children_of(session, actor, [run_id])
    seen = [edge.child for edge in edges if edge.is_visible]
    named = session.execute(select(Run.id, Run.name).where(Run.id.in_(seen)).order_by(Run.id))
    return Users([(key, name) for key, name in named], len(edges) - len(seen))


def delete_run(session: Session, actor: User, run_id: UUID) -> None:
    """Delete a run in the transaction of the caller; its files go after the commit.

    Raises:
        NotFound: If the actor may not see it, or it was deleted a moment ago.
        Forbidden: If it is neither theirs nor are they an admin.
        Conflict: If it is not over.
        InUse: If other runs were made from it.
    """
    run = get_run(session, actor, run_id)
    require(actor, Action.DELETE_RUN, run.owner_id)
    # Whoever submits a run that is made from this one holds its row (app/runs/held.py).
    still = select(Run.id).where(Run.id == run_id, Run.deleted_at.is_(None))
    if session.scalar(still.with_for_update()) is None:
        raise NotFound(N_("There is no such run."))
    used_by = users_of(session, actor, run_id)
    if used_by:
        raise used_by.refusal()
    now = clock.now()
    gone = session.scalar(
        update(Run)
        .where(Run.id == run_id, Run.state.in_(OVER), Run.deleted_at.is_(None))
        .values(deleted_at=now, deleted_by_id=actor.id)
        .returning(Run)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    if gone is None:
        raise Conflict(N_("This run is not over yet. Cancel it first."))
    for table in LEFT:
        session.execute(delete(table).where(table.run_id == run_id))
    keys = update(EndpointKey).where(EndpointKey.run_id == run_id, EndpointKey.revoked_at.is_(None))
    session.execute(keys.values(revoked_at=now))
    record(session, actor, "delete_run", str(run_id), owner=str(run.owner_id), name=run.name)
    after_commit(session, remove_files, run_id)


def remove_files(run_id: UUID) -> None:
    """Remove the folder of a deleted run; at first its name, so that no half of it is found."""
    folder = get_settings().run_dir(run_id)
    aside = folder.with_name(f"{DELETED}{run_id}")
    try:
        folder.rename(aside)
    except OSError:  # it left none, or its name is taken: then what is left goes as it is
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)


def remove_left_over() -> int:
    """Remove folders of deleted runs that a crash left behind; returns how many."""
    runs_dir = get_settings().runs_dir
    folders = [path for path in runs_dir.glob("*") if path.is_dir()]
    aside = [path for path in folders if path.name.startswith(DELETED)]
    for path in aside:
        shutil.rmtree(path, ignore_errors=True)
    if not folders:
        return 0
    names = {path.name for path in folders}
    with reading() as session:
        deleted = session.scalars(select(Run.id).where(Run.deleted_at.is_not(None))).all()
    left = [run_id for run_id in deleted if str(run_id) in names]
    for run_id in left:
        remove_files(run_id)
    return len(aside) + len(left)
