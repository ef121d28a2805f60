"""The laws I1 to I12: each a function, and its sentence is what holds."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.metrics import store
from app.models import OVER, Artifact, Attempt, AuditEntry, Run, RunEvent, RunState
from app.settings import get_settings
from labs.published import is_whole, read_manifest
from tests.runs.machine_book import LOSS, SCORE
from tests.runs.machine_world import LIVE, SLOTS, World

Law = Callable[[World, Session], None]


def one_open_attempt(world: World, session: Session) -> None:
    """I1: a run has one open attempt, its latest, while it is on a device, and none otherwise."""
    unfinished = select(Attempt.run_id, Attempt.number).where(Attempt.finished_at.is_(None))
    live = select(Run.id, Run.attempt).where(Run.state.in_(LIVE))
    assert sorted(map(tuple, session.execute(unfinished))) == sorted(
        map(tuple, session.execute(live))
    )


def one_run_a_slot(world: World, session: Session) -> None:
    """I2: a device never has more runs than slots, and a run that is on none names none."""
    on_devices = session.scalars(select(Run.device).where(Run.state.in_(LIVE))).all()
    assert all(count <= SLOTS[str(name)] for name, count in Counter(on_devices).items())
    waiting = select(Run.device).where(Run.state.in_([RunState.QUEUED, RunState.HELD]))
    assert not any(session.scalars(waiting))


def an_end_is_for_ever(world: World, session: Session) -> None:
    """I3: a run that is over stays as it ended."""
    for run_id, state, finished in session.execute(select(Run.id, Run.state, Run.finished_at)):
        book = world.books[run_id]
        assert (finished is not None) == (state in OVER)
        assert book.ended in (None, state)
        book.ended = state if state in OVER else None


def points_are_there_once(world: World, session: Session) -> None:
    """I4, P7: each step of a key is read once, and exactly what was acknowledged is read."""
    for run_id, book in world.books.items():
        frame = store.read(session, run_id)
        latest = store.latest(session, [run_id])[run_id]
        for key in (LOSS, SCORE):
            steps, values = frame.series(key)
            expected = book.series(key)
            assert list(zip(steps.tolist(), values.tolist(), strict=True)) == expected
            assert (latest[key].step if expected else None) == (
                expected[-1][0] if expected else None
            )


def attempts_rise(world: World, session: Session) -> None:
    """I5: the attempts of a run are numbered one by one, and its number never falls."""
    for run_id, attempt in session.execute(select(Run.id, Run.attempt)):
        numbers = select(Attempt.number).where(Attempt.run_id == run_id).order_by(Attempt.number)
        assert session.scalars(numbers).all() == list(range(1, attempt + 1))
        assert attempt >= world.books[run_id].highest
        world.books[run_id].highest = attempt


def old_attempts_are_silent(world: World, session: Session) -> None:
    """I6: once a later attempt has written, an earlier one writes nothing more."""
    for run_id in world.books:
        told = select(RunEvent.attempt).where(RunEvent.run_id == run_id).order_by(RunEvent.seq)
        assert all(before <= after for before, after in pairwise(session.scalars(told)))


def limits_hold(world: World, session: Session) -> None:
    """I7: nobody has more runs waiting and running than the limits allow together."""
    limits = get_settings()
    assert limits.max_running_per_person is not None
    owned = select(Run.owner_id, Run.state, func.count()).group_by(Run.owner_id, Run.state)
    live: Counter[object] = Counter()
    both: Counter[object] = Counter()
    for owner, state, count in session.execute(owned):
        live[owner] += count if state in LIVE else 0
        both[owner] += count if state in (*LIVE, RunState.QUEUED) else 0
    most = limits.max_running_per_person
    assert all(count <= most for count in live.values())
    most += limits.max_waiting_per_person + world.returned
    assert all(count <= most for count in both.values())


def device_seconds_add_up(world: World, session: Session) -> None:
    """I8: the device-seconds of a run are those that its attempts counted, and never negative."""
    for run_id, book in world.books.items():
        found = select(Attempt.number, Attempt.device_seconds).where(Attempt.run_id == run_id)
        seconds = {row.number: row.device_seconds for row in session.execute(found)}
        assert all(counted >= 0 for counted in seconds.values())
        assert {number: seconds[number] for number in book.seconds} == book.seconds


def artifacts_are_whole(world: World, session: Session) -> None:
    """I9: an artifact that is visible has a manifest, and every file that it names."""
    for artifact in session.scalars(select(Artifact)):
        folder = world.folder / str(artifact.run_id) / artifact.path
        manifest = read_manifest(folder)
        assert manifest is not None
        assert manifest["sha256"] == artifact.sha256
        assert is_whole(folder)


def no_run_is_lost(world: World, session: Session) -> None:
    """I10: after recovery every run has ended, but for those that a person must release."""
    left = select(Run.state).where(Run.state.not_in(OVER))
    assert set(session.scalars(left)) <= {RunState.HELD}


def events_have_no_gap(world: World, session: Session) -> None:
    """I11: the events of a run are numbered from 1 without a gap."""
    for run_id, count in session.execute(select(Run.id, Run.event_count)):
        told = select(RunEvent.seq).where(RunEvent.run_id == run_id).order_by(RunEvent.seq)
        assert session.scalars(told).all() == list(range(1, count + 1))


def privileged_acts_are_written_down(world: World, session: Session) -> None:
    """I12: there is one audit entry for each act of a person upon the run of another."""
    written = select(func.count()).where(AuditEntry.actor_id.is_not(None))
    assert session.scalar(written) == world.privileged


ALWAYS: Sequence[Law] = (
    one_open_attempt,
    one_run_a_slot,
    an_end_is_for_ever,
    points_are_there_once,
    attempts_rise,
    old_attempts_are_silent,
    limits_hold,
    device_seconds_add_up,
    artifacts_are_whole,
    events_have_no_gap,
    privileged_acts_are_written_down,
)
