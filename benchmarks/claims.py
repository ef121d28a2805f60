"""Many workers that want the same runs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from app import database, migrate
from app.models import Attempt
from app.settings import get_settings
from benchmarks.report import Row
from tests.support.claimers import assign_many, claim_together
from tests.support.postgres import running_postgres

ROWS, THREADS, PROCESSES = 1000, 16, 4


def measure() -> list[Row]:
    """1,000 assigned runs and everybody claiming them: each once, so many a second."""
    with tempfile.TemporaryDirectory(prefix="bunsen-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        (home / "postgres").mkdir()
        with running_postgres(home / "postgres") as server:
            return [
                _row("SQLite", f"sqlite:///{home / 'bunsen.db'}"),
                _row("Postgres", server.url(server.create())),
            ]


def _row(name: str, url: str) -> Row:
    with _database(url):
        with database.session_factory() as session:
            wanted = assign_many(session, ROWS)
        claimed = claim_together(THREADS, PROCESSES)
        assert sorted(claimed) == sorted(wanted), "a run was claimed twice, or never"
        rate = ROWS / _seconds()
    who = f"{name}, {THREADS} threads, {PROCESSES} processes"
    return Row(who, f"{rate:.0f} claims/s", "each once", f"{ROWS} runs")


def _seconds() -> float:
    """From the first claim to the last: starting processes is not measured."""
    started = Attempt.started_at
    with database.reading() as session:
        first, last = session.execute(select(func.min(started), func.max(started))).one()
    assert first is not None
    assert last is not None
    return float((last - first).total_seconds())


@contextmanager
def _database(url: str) -> Iterator[None]:
    os.environ["BUNSEN_DATABASE_URL"] = url
    _forget()
    migrate.upgrade(database.get_engine())
    yield
    _forget()
    del os.environ["BUNSEN_DATABASE_URL"]


def _forget() -> None:
    database.reset()
    get_settings.cache_clear()
