"""A migration whose process is killed at any statement has not been: nothing is lost or half."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect, select
from starlette.testclient import TestClient

from app import backup, database, migrate
from app.accounts import people
from app.database import make_engine, transaction
from app.errors import Unavailable
from app.models import User
from app.settings import get_settings
from tests.faults.previous.release import Release
from tests.support.killed import count_in_a_child
from tests.support.postgres import Postgres
from tests.support.site import Site

PREVIOUS = "0001"
NEVER = 0


class Source:
    """Copies of a database that the release before has left."""

    def __init__(self, kind: str, folder: Path, server: Postgres | None) -> None:
        self.release = Release.recorded(PREVIOUS, kind)
        self._folder, self._server, self._numbers = folder, server, count()
        self._template = server.create() if server else str(folder / "template.db")
        engine = make_engine(self._url(self._template))
        self.release.found(engine, self.release.after, upgraded=False)
        engine.dispose()

    def copy(self) -> str:
        """The URL of one more of them."""
        if self._server:
            return self._url(self._server.create(template=self._template))
        target = self._folder / f"{next(self._numbers)}.db"
        with sqlite3.connect(self._template) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        connection.close()
        return self._url(str(target))

    def _url(self, name: str) -> str:
        return self._server.url(name) if self._server else f"sqlite:///{name}"


@pytest.fixture(params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    return Source(request.param, tmp_path, server)


def killed_at(source: Source, stride: int) -> None:
    statements = migrate_in_a_child(source.copy(), NEVER)
    assert statements > stride
    for last in range(1, statements + 1, stride):
        url = source.copy()
        migrate_in_a_child(url, last)
        check_nothing_has_been(source.release, url)


def test_whoever_is_killed_in_the_middle_leaves_the_release_before(source: Source) -> None:
    killed_at(source, 12)


@pytest.mark.faults(everyday=False)
def test_whoever_is_killed_at_any_statement_leaves_the_release_before(source: Source) -> None:
    killed_at(source, 1)


def migrate_in_a_child(url: str, last: int) -> int:
    """Migrate in a process that kills itself after a statement; returns how many there were."""
    statements = count_in_a_child(lambda told: _migrate(url, last, told), last)
    assert last in (0, statements)
    return statements


def _migrate(url: str, last: int, told: int) -> int:
    numbers = count(1)

    def note(*_: Any) -> None:
        os.write(told, b".")
        if next(numbers) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = make_engine(url)
    event.listen(engine, "after_cursor_execute", note)
    try:
        migrate.upgrade(engine)
    except BaseException:  # whatever it is, this process must not go on as a second test run
        return 1
    return 0


def check_nothing_has_been(release: Release, url: str) -> None:
    engine = make_engine(url)
    assert migrate.standing(engine) is migrate.Standing.BEHIND
    looked = inspect(engine)
    for table, rows in release.expected().items():
        assert {column["name"] for column in looked.get_columns(table)} == set(rows[0])
    assert release.what_it_sees(engine) == release.expected()
    migrate.upgrade(engine)
    assert migrate.standing(engine) is migrate.Standing.CURRENT
    assert release.what_it_sees(engine) == release.expected()
    engine.dispose()


@pytest.fixture
def behind(source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The database of this site, which the release before has left."""
    monkeypatch.setenv("BUNSEN_DATABASE_URL", source.copy())
    database.reset()
    get_settings.cache_clear()
    yield database.get_engine()
    database.reset()


def test_pages_say_that_the_site_is_being_upgraded(behind: Engine) -> None:
    with transaction() as session:
        sam = session.scalars(select(User).where(User.name == "sam")).one()
        token = people.create_api_token(session, sam)
    headers = {"Authorization": f"Bearer {token}"}
    client = TestClient(Site().app, headers=headers)
    for address in ("/runs", "/queue", "/api/v1/runs"):
        answer = client.get(address)
        assert answer.status_code == 503, address
        assert "being upgraded" in answer.text
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    backup.upgrade()
    assert client.get("/runs").status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
def test_an_upgrade_keeps_what_was_there_before(source: Source, behind: Engine) -> None:
    told = backup.upgrade()
    assert not backup.upgrade(), "there was nothing left to do"
    kept = Path(str(behind.url.database) + f".before-{migrate.head()}")
    assert str(kept) in told
    check_nothing_has_been(source.release, f"sqlite:///{kept}")


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
def test_without_room_for_a_copy_nothing_is_upgraded(
    source: Source, behind: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(Unavailable, match="no room"):
        backup.upgrade()
    check_nothing_has_been(source.release, str(behind.url))


@pytest.mark.parametrize("source", ["postgres"], indirect=True)
def test_a_machine_without_pg_dump_says_that_it_kept_no_copy(
    behind: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert "No copy was made" in backup.upgrade()
    assert migrate.standing(behind) is migrate.Standing.CURRENT
