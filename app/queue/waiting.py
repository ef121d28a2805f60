"""Why one run waits: its place, what is ahead of it in words, and when it may start."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app import clock
from app.i18n import gettext, ngettext, number
from app.models import Run, RunState, User
from app.queue import queries
from app.queue.spans import Span, stored
from app.queue.views import classes_in_session

# Beyond so many the runs ahead are counted, not told apart.
MOST_TOLD_APART = 500


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many runs are ahead, each counted once, by what puts it there."""

    total: int
    session: int = 0
    boosted: int = 0
    own: int = 0
    first: int = 0
    others: int = 0

    def words(self) -> str:
        """ "3 runs ahead: 2 first runs of others, 1 in a lab session"."""
        total = ngettext("{count} run ahead", "{count} runs ahead", self.total)
        parts = [form.format(count=number(count)) for count, form in self._parts() if count]
        listed = gettext(", ").join(parts)
        said = total.format(count=number(self.total))
        return gettext("{total}: {parts}").format(total=said, parts=listed) if parts else said

    def _parts(self) -> list[tuple[int, str]]:
        return [
            (self.session, gettext("{count} in a lab session")),
            (self.boosted, gettext("{count} moved up by an instructor")),
            (self.own, gettext("{count} of your own")),
            (
                self.first,
                ngettext("{count} first run of others", "{count} first runs of others", self.first),
            ),
            (self.others, gettext("{count} of people who used less or wait longer")),
        ]


@dataclass(frozen=True, slots=True)
class WaitingCard:
    """What the run's page says while it waits. Rendered by runs/_waiting.html."""

    position: int | None
    total: int
    start: Span | None
    ahead: Ahead | None
    is_boosted: bool
    in_session: bool
    now: datetime


def waiting_card(session: Session, actor: User, run: Run) -> WaitingCard | None:
    """The card of a run that waits; None for any other."""
    if run.state is not RunState.QUEUED:
        return None
    now = clock.now()
    in_session = classes_in_session(session, now)
    return WaitingCard(
        position=run.position,
        total=queries.count_waiting(session),
        start=stored(run.expected_start),
        ahead=ahead_of(session, run, in_session) if run.position else None,
        is_boosted=run.boosted_at is not None,
        in_session=run.classroom_id in in_session,
        now=now,
    )


def ahead_of(session: Session, run: Run, in_session: Collection[UUID]) -> Ahead:
    """The runs ahead by the first of the rules that puts each there."""
    assert run.position is not None
    if run.position > MOST_TOLD_APART:
        return Ahead(run.position - 1)
    rows = queries.ahead_of(session, run.position, MOST_TOLD_APART)
    return told_apart(rows, run.owner_id, in_session, queries.owners_of_live(session))


def told_apart(
    rows: Sequence[tuple[UUID, UUID | None, datetime | None]],
    owner: UUID,
    in_session: Collection[UUID],
    busy: Collection[UUID],
) -> Ahead:
    """Count the runs ahead; `rows` are owner, class and boost of each in the order of turns."""
    counts = dict.fromkeys(("session", "boosted", "own", "first", "others"), 0)
    seen = set(busy)
    for person, classroom, boosted_at in rows:
        counts[_kind(person == owner, classroom in in_session, boosted_at, person in seen)] += 1
        seen.add(person)
    return Ahead(len(rows), **counts)


def _kind(is_own: bool, in_session: bool, boosted_at: datetime | None, has_another: bool) -> str:
    if is_own:
        return "own"
    if in_session:
        return "session"
    if boosted_at is not None:
        return "boosted"
    return "others" if has_another else "first"
