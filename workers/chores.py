"""The small chores of the housekeeper."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update

from app import clock
from app.database import reading, transaction
from app.metrics import store
from app.models import OVER, EntryLink, LoginSession, MetricChunk, Run, RunState
from app.runs.dispatch import ring_all

CLAIMED_WITHIN = timedelta(seconds=2)
# A run has this many chunks beyond what its rows need before merging them is worth a write.
SPARE_CHUNKS = 8
MERGED_AT_ONCE = 20
RECENT = timedelta(minutes=10)
LINK_KEPT = timedelta(days=1)
SESSION_IDLE = timedelta(days=7)
SESSION_LONGEST = timedelta(days=30)


def ring_again() -> int:
    """Ring for runs that were assigned and that nobody has claimed; returns how many."""
    with reading() as session:
        unclaimed = session.execute(
            select(Run.id, Run.attempt, Run.device).where(
                Run.state == RunState.ASSIGNED, Run.assigned_at < clock.now() - CLAIMED_WITHIN
            )
        ).all()
    ring_all([(run_id, attempt, device) for run_id, attempt, device in unclaimed if device])
    return len(unclaimed)


def take_over_estimates() -> int:
    """Copy the estimates of waiting runs to the columns that are scheduled by; returns how many.

    A web server of the release before, which is still up during an upgrade, does not know those.
    """
    needed = Run.estimate["memory_bytes"].as_float()
    missing = (Run.state == RunState.QUEUED, Run.memory_bytes == 0, needed > 0)
    with reading() as session:
        found = session.scalars(select(Run.id).where(*missing)).all()
    if not found:
        return 0
    seconds = Run.estimate["seconds"]
    taken = (
        update(Run)
        .where(Run.id.in_(found), *missing)
        .values(
            memory_bytes=needed, seconds_low=seconds[0].as_float(),
            seconds_high=seconds[1].as_float(),
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    with transaction() as session:
        session.execute(taken)
    return len(found)


class Merger:
    """Merges the chunks of runs that are over: at first of all of them, then of recent ones."""

    def __init__(self) -> None:
        self._since: datetime | None = None

    def merge_metrics(self) -> int:
        """Merge some runs; returns how many."""
        scattered = _scattered(self._since)
        for run_id in scattered:
            with transaction() as session:
                store.merge(session, run_id)
        if len(scattered) < MERGED_AT_ONCE:
            self._since = clock.now() - RECENT
        return len(scattered)


def _scattered(since: datetime | None) -> Sequence[UUID]:
    needed = func.sum(MetricChunk.rows) * 2 / store.MERGED_ROWS
    statement = (
        select(MetricChunk.run_id)
        .join(Run, Run.id == MetricChunk.run_id)
        .where(Run.state.in_(OVER))
        .group_by(MetricChunk.run_id)
        .having(func.count() > SPARE_CHUNKS + needed)
        .limit(MERGED_AT_ONCE)
    )
    if since is not None:
        statement = statement.where(Run.finished_at > since)
    with reading() as session:
        return session.scalars(statement).all()


def forget_sessions() -> int:
    """Delete links and sessions that nobody can use any more; returns how many."""
    now = clock.now()
    expired_link = EntryLink.expires_at < now - LINK_KEPT
    expired_session = or_(
        LoginSession.seen_at < now - SESSION_IDLE, LoginSession.created_at < now - SESSION_LONGEST
    )
    with transaction() as session:
        links = session.scalars(delete(EntryLink).where(expired_link).returning(EntryLink.user_id))
        count = len(links.all())
        gone = delete(LoginSession).where(expired_session).returning(LoginSession.user_id)
        return count + len(session.scalars(gone).all())
