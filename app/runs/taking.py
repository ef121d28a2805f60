"""Taking the result of a finished run of the same work over: files first, then rows at once."""

from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, func, insert, literal, select, update
from sqlalchemy.orm import Session

from app.database import after_commit
from app.errors import Conflict, Forbidden, Unavailable
from app.i18n import N_
from app.models import Artifact, Base, MetricChunk, MetricLatest, Run, RunEvent, RunState, User
from app.runs import lifecycle, queries, same_work, taken_files
from app.runs.same_work import Offer

COPIED = (MetricChunk, MetricLatest, Artifact)
NOTHING_LEFT = N_("There is no finished result for this run to take over any more.")
# What the run itself shows, as its row keeps it.
SHOWN = (
    "environment", "peak_memory_bytes", "metric_rows", "stage", "stage_started_at",
    "progress_done", "progress_total", "progress_note",
)  # fmt: skip


def take_offer(session: Session, actor: User, run_id: UUID) -> Run:
    """Let a waiting run of one's own end with the result it is offered; twice is once.

    Raises:
        NotFound: If the actor may not see the run.
        Forbidden: If it is somebody else's.
        Conflict: If it no longer waits, or nothing is offered to it any more.
    """
    run = queries.get_run(session, actor, run_id)
    if run.owner_id != actor.id:
        raise Forbidden(N_("Only the person whose run it is may take a result over."))
    session.execute(select(Run.id).where(Run.id == run_id).with_for_update())
    session.refresh(run)
    if run.same_as_id is not None:
        return run
    if run.state is not RunState.QUEUED:
        raise Conflict(N_("This run does not wait any more."))
    offer = same_work.offer_for(session, run)
    if offer is None:
        raise Conflict(NOTHING_LEFT)
    take(session, run, offer)
    return run


def take(session: Session, run: Run, offer: Offer) -> None:
    """End a waiting run with another's result, in the transaction of the caller.

    Raises:
        Conflict: If the run does not wait any more, or the other was deleted a moment ago.
        Unavailable: If its files cannot be written.
    """
    source = _held(session, offer.source)
    _link_files(source.id, run.id)
    try:
        for table in COPIED:
            _copy(session, table, source.id, run.id)
        shown = {name: getattr(source, name) for name in SHOWN}
        _copy_events(session, source.id, run.id, shown)
        lifecycle.take_result(session, run.id, source.same_as_id or source.id)
    except BaseException:
        taken_files.forget(run.id)
        raise
    after_commit(session, taken_files.put_in_place, run.id)


def _held(session: Session, source_id: UUID) -> Run:
    """The finished run, which nobody deletes until the rows are copied."""
    still = select(Run).where(Run.id == source_id, Run.deleted_at.is_(None))
    source = session.scalar(still.with_for_update(read=True))
    if source is None:
        raise Conflict(NOTHING_LEFT)
    return source


def _link_files(source_id: UUID, run_id: UUID) -> None:
    try:
        taken_files.link_beside(source_id, run_id)
    except OSError as error:
        taken_files.forget(run_id)
        told = N_("The files of the finished result could not be taken over: {reason}.")
        raise Unavailable(told, reason=error.strerror or str(error)) from error


def _copy(session: Session, table: type[Base], source_id: UUID, run_id: UUID) -> None:
    columns = [column for column in table.__table__.columns if column.name != "run_id"]
    rows = select(literal(run_id, Uuid()), *columns).where(table.__table__.c.run_id == source_id)
    session.execute(insert(table).from_select(["run_id", *(c.name for c in columns)], rows))


def _copy_events(session: Session, source_id: UUID, run_id: UUID, shown: dict[str, Any]) -> None:
    """What the other run showed, numbered behind what this one became; not what it became."""
    theirs = (RunEvent.run_id == source_id, RunEvent.kind != "state")
    count = session.scalar(select(func.count()).select_from(RunEvent).where(*theirs)) or 0
    last = session.scalar(
        update(Run)
        .where(Run.id == run_id, Run.state == RunState.QUEUED)
        .values(event_count=Run.event_count + count, **shown)
        .returning(Run.event_count)
        .execution_options(synchronize_session=False)
    )
    if last is None:
        raise Conflict(N_("This run does not wait any more."))
    number = func.row_number().over(order_by=RunEvent.seq) + (last - count)
    copied = (RunEvent.attempt, RunEvent.kind, RunEvent.at, RunEvent.payload)
    rows = select(literal(run_id, Uuid()), number, *copied).where(*theirs)
    names = ["run_id", "seq", "attempt", "kind", "at", "payload"]
    session.execute(insert(RunEvent).from_select(names, rows))
