"""The power fails at any moment: SQLite's files, as they are then, hold all that was acknowledged."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import database
from app.database import make_engine
from app.metrics import store
from app.models import Attempt, Run, RunEvent, RunState
from app.runs import lifecycle
from app.runs.reasons import reason_of
from setup.commands import die_with_parent
from tests.support.factories import make_run
from tests.support.scribe import EACH

ROOT = Path(__file__).parents[2]
COPIES, PATIENCE_SECONDS = 15, 120


@pytest.fixture
def run_id(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> UUID:
    monkeypatch.setenv("BUNSEN_DATABASE_URL", sqlite_url)
    with database.transaction() as session:
        run = make_run(session)
        lifecycle.assign(session, run.id, "cpu", reason_of("Placed."))
        lifecycle.claim(session, run.id, 1, "cpu")
    return run.id


@contextmanager
def writing(run_id: UUID, acknowledged: Path) -> Iterator[int]:
    """A process that writes; gives its number."""
    command = [sys.executable, "-m", "tests.support.scribe", str(run_id), str(acknowledged)]
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=die_with_parent)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def count(acknowledged: Path) -> int:
    return acknowledged.read_bytes().count(b"\n") if acknowledged.exists() else 0


def wait_for(acknowledged: Path, more_than: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count(acknowledged) <= more_than:
        assert time.monotonic() < deadline, "the writer does not get on"
        time.sleep(0.01)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    yield
    os.kill(pid, signal.SIGCONT)


def check(copy: Path, run_id: UUID, acknowledged: int) -> None:
    engine = make_engine(f"sqlite:///{copy}")
    with Session(engine) as session:
        assert session.scalar(text("PRAGMA integrity_check")) == "ok"
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
        steps = store.read(session, run_id).steps.tolist()
        # The last one may have been committed when its acknowledgement was still to come.
        assert acknowledged <= len(steps) <= acknowledged + 1
        assert steps == list(range(1, len(steps) + 1))
        run = session.get_one(Run, run_id)
        assert (run.state, run.attempt) == (RunState.RUNNING, 1 + len(steps) // EACH)
        attempts = select(Attempt.number).order_by(Attempt.number)
        assert session.scalars(attempts).all() == list(range(1, run.attempt + 1))
        told = select(RunEvent.seq).order_by(RunEvent.seq)
        assert session.scalars(told).all() == list(range(1, run.event_count + 1))
    engine.dispose()


@pytest.mark.faults
def test_every_image_of_the_files_holds_what_was_acknowledged(
    run_id: UUID, home: Path, tmp_path: Path
) -> None:
    acknowledged = tmp_path / "acknowledged"
    with writing(run_id, acknowledged) as pid:
        for number in range(COPIES):
            wait_for(acknowledged, more_than=count(acknowledged) + random.randint(0, 9))
            copy = tmp_path / str(number) / "bunsen.db"
            copy.parent.mkdir()
            with stopped(pid):
                known = count(acknowledged)
                for suffix in ("", "-wal"):
                    shutil.copyfile(f"{home}/bunsen.db{suffix}", f"{copy}{suffix}")
            check(copy, run_id, known)
