"""What a lost message or a dead worker left is put right, by this process's own clock."""

import socket
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.metrics import store
from app.metrics.store import MetricRow
from app.models import EntryLink, LoginSession, MetricChunk, Run, RunState
from app.runs import lifecycle
from app.runs.reasons import reason_of
from labs.contract import Cause
from tests.support.factories import make_device, make_run, make_user
from workers import chores, housekeeper
from workers.leases import Sweeper

WHY = reason_of("Placed.")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def sweeper(time: Clock) -> Sweeper:
    return Sweeper(lease_seconds=10, clock=time)


def assigned(session: Session) -> Run:
    run = make_run(session)
    lifecycle.assign(session, run.id, "cpu", WHY)
    session.commit()
    return run


def running(session: Session) -> Run:
    run = assigned(session)
    lifecycle.claim(session, run.id, 1, "cpu")
    session.commit()
    return run


def state(session: Session, run: Run) -> RunState:
    session.expire_all()
    found = session.get_one(Run, run.id).state
    session.rollback()
    return found


def test_a_lease_that_stands_still_is_over(session: Session, sweeper: Sweeper, time: Clock) -> None:
    run = running(session)
    assert sweeper.sweep() == 0
    time.now = 9.0
    assert sweeper.sweep() == 0
    time.now = 11.0
    assert sweeper.sweep() == 1
    assert state(session, run) is RunState.QUEUED


def test_a_renewed_lease_lives_on(session: Session, sweeper: Sweeper, time: Clock) -> None:
    run = running(session)
    for _ in range(5):
        sweeper.sweep()
        time.now += 8
        lifecycle.renew(session, run.id, 1)
        session.commit()
    assert state(session, run) is RunState.RUNNING


def test_an_assigned_run_leaves_a_device_whose_worker_is_silent(
    session: Session, sweeper: Sweeper, time: Clock
) -> None:
    make_device(session)
    run = assigned(session)
    sweeper.sweep()
    time.now = 11.0
    assert sweeper.sweep() == 1
    assert state(session, run) is RunState.QUEUED


def test_an_assigned_run_is_waited_for_while_its_worker_lives(
    session: Session, sweeper: Sweeper, time: Clock
) -> None:
    device = make_device(session)
    run = assigned(session)
    for _ in range(4):
        sweeper.sweep()
        time.now += 9
        device.heartbeat += 1
        session.commit()
    assert state(session, run) is RunState.ASSIGNED
    time.now += 9
    sweeper.sweep()
    assert state(session, run) is RunState.QUEUED


def test_a_lease_of_an_earlier_boot_of_this_machine_says_so(
    session: Session, sweeper: Sweeper, time: Clock
) -> None:
    make_device(session, host=socket.gethostname(), boot_id="the boot before")
    run = running(session)
    sweeper.sweep()
    time.now = 11.0
    assert sweeper.sweep() == 1
    session.expire_all()
    assert session.get_one(Run, run.id).cause == Cause.HOST_RESTARTED


def test_a_chore_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def broken() -> None:
        raise OSError("the database is away")

    todo = [housekeeper.Chore(broken), housekeeper.Chore(lambda: done.append("swept"), every=5.0)]
    for now in (0.0, 1.0, 6.0):
        housekeeper.take_turn(todo, now)
    assert done == ["swept", "swept"]
    assert caplog.text.count("broken failed; it is tried again") == 3


def test_the_chunks_of_a_run_that_is_over_are_merged(session: Session) -> None:
    over, live = make_run(session, state=RunState.RUNNING, attempt=1), running(session)
    for run in (over, live):
        for step in range(40):
            store.append(session, run.id, 1, [MetricRow(step, 0.0, {"loss": 1.0})])
    lifecycle.finish(session, over.id, 1, RunState.SUCCEEDED)
    session.commit()
    merger = chores.Merger()
    assert merger.merge_metrics() == 1
    assert merger.merge_metrics() == 0
    counted = select(MetricChunk.run_id, func.count()).group_by(MetricChunk.run_id)
    chunks = {row[0]: row[1] for row in session.execute(counted)}
    assert chunks == {over.id: 1, live.id: 40}


def test_links_and_sessions_that_are_over_are_forgotten(session: Session) -> None:
    user, now = make_user(session), clock.now()
    long_ago = now - timedelta(days=90)
    for name, moment in (("old", long_ago), ("new", now)):
        session.add(
            EntryLink(token_sha256=name, user_id=user.id, created_at=moment, expires_at=moment)
        )
        session.add(
            LoginSession(token_sha256=name, user_id=user.id, created_at=moment, seen_at=moment)
        )
    session.commit()
    assert chores.forget_sessions() == 2
    assert session.scalars(select(EntryLink.token_sha256)).all() == ["new"]
    assert session.scalars(select(LoginSession.token_sha256)).all() == ["new"]


def test_only_runs_that_wait_for_their_worker_are_rung_for(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[object] = []
    monkeypatch.setattr(chores, "ring_all", rung.extend)
    late, fresh = assigned(session), assigned(session)
    late.assigned_at = clock.now() - timedelta(seconds=10)
    running(session)
    session.commit()
    assert chores.ring_again() == 1
    assert rung == [(late.id, 1, "cpu")]
    assert fresh.state is RunState.ASSIGNED
