"""An upgrade takes over what the release before left, and that release goes on meanwhile."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, select

from app import broker, database
from app.database import make_engine, reading
from app.metrics import store
from app.models import Attempt, DeviceState, Role, Run, RunState
from app.settings import get_settings
from tests.faults.patience import START_SECONDS, eventually
from tests.faults.previous.release import Release
from tests.workers.conftest import run_of, start_process
from workers import chores

PREVIOUS = "0001"
# Words of columns that the release before does not know, and what becomes of it when it reads one.
NEW_WORDS = {
    # Its worker and its housekeeper fail to read a paused device, and try again: nothing may be
    # paused before every worker has been started anew (CHANGELOG).
    "DeviceState": {DeviceState.PAUSED.value},
}


@dataclass
class Upgraded:
    """A database that the release before has used, of which nothing has been started since."""

    release: Release
    engine: Engine


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgraded]:
    if request.param == "sqlite":
        url = get_settings().sqlalchemy_url
    else:
        url = request.getfixturevalue("empty_postgres_url")
    monkeypatch.setenv("BUNSEN_DATABASE_URL", url)
    forget()
    engine = make_engine(url)
    yield Upgraded(Release.recorded(PREVIOUS, request.param), engine)
    engine.dispose()
    forget()


def forget() -> None:
    database.reset()
    get_settings.cache_clear()
    broker.reset()


def test_the_release_before_goes_on_with_the_new_tables(empty: Upgraded) -> None:
    """Every statement that it sends still says what it said."""
    release = empty.release
    release.found(empty.engine, release.before)
    release.replay(empty.engine)
    assert release.what_it_sees(empty.engine) == release.expected()


def test_what_it_queues_meanwhile_is_placed_by_its_estimate(empty: Upgraded) -> None:
    release = empty.release
    release.found(empty.engine, release.before)
    release.replay(empty.engine)
    waits = select(Run).where(Run.name == "waits")
    with reading() as session:
        assert session.scalars(waits).one().memory_bytes == 0
    assert chores.take_over_estimates() == 1
    with reading() as session:
        run = session.scalars(waits).one()
    assert (run.memory_bytes, run.seconds_low, run.seconds_high) == (1 << 20, 1, 2)
    assert chores.take_over_estimates() == 0


def test_words_that_it_does_not_know_are_few_and_known(empty: Upgraded) -> None:
    words = {kind.__name__: {each.value for each in kind} for kind in (RunState, DeviceState, Role)}
    new = {name: words[name] - set(known) for name, known in empty.release.words.items()}
    assert {name: found for name, found in new.items() if found} == NEW_WORDS


@pytest.fixture
def start(
    empty: Upgraded, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[], None]]:
    """Starts a housekeeper and a worker of this release, when the database has been left behind."""
    for name, value in {"DEVICE_SLOTS": "2", "LEASE": "PT3S", "MIN_FREE_BYTES": "1"}.items():
        monkeypatch.setenv(f"BUNSEN_{name}", value)
    forget()
    started: list[subprocess.Popen[bytes]] = []

    def start_both() -> None:
        for words in (("tests.workers.keeper",), ("tests.faults.previous.worker", "cpu")):
            started.append(start_process(*words, log=tmp_path / f"{words[0]}.log"))

    yield start_both
    for process in started:
        process.kill()
        process.wait(timeout=10)


@pytest.mark.faults(everyday=False)
def test_a_run_in_the_middle_goes_on_after_the_upgrade(
    empty: Upgraded, start: Callable[[], None]
) -> None:
    release = empty.release
    script = next(run for run in release.after["runs"] if run["name"] == "in the middle")["params"]
    script["pause"] = 0  # it was slow to be caught in the middle
    release.found(empty.engine, release.after)
    with reading() as session:
        runs = {run.name: run for run in session.scalars(select(Run))}
    middle = runs["in the middle"].id
    release.leave_files(get_settings().run_dir(middle))
    start()
    for run_id in (middle, runs["waits"].id):
        eventually(partial(is_over, run_id), "a run did not end", START_SECONDS)
    with reading() as session:
        told = select(Attempt.outcome, Attempt.resumed_from_step).where(Attempt.run_id == middle)
        attempts = session.execute(told.order_by(Attempt.number)).all()
        steps, values = store.read(session, middle).series("train/loss")
        ended = {run.name: run.state for run in session.scalars(select(Run))}
    kept = int(release.files["checkpoint"])
    assert attempts == [("requeued", None), ("succeeded", kept)]
    assert steps.tolist() == list(range(1, script["steps"] + 1))
    assert values.tolist() == [1 / step for step in steps.tolist()]
    over = {name: runs[name].state for name in ("done", "sent")}
    assert ended | over == ended


def is_over(run_id: UUID) -> bool:
    return run_of(run_id).state.is_over
