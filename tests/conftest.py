"""Fixtures for the whole suite. A test that names a fixture gets a real server, and pays for it."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, Page
from sqlalchemy.orm import Session
from tqdm import tqdm

from app import broker, database, migrate
from app.database import make_engine
from app.settings import get_settings
from tests.support.browser import running_browser
from tests.support.postgres import Postgres, running_postgres
from tests.support.redis import running_redis
from tests.support.server import Server, running_server

PAGE_PATIENCE_MS = 10_000
THREAD_PATIENCE_SECONDS = 10
# Reading a model's weights shows a bar; the thread that would watch over it never ends.
tqdm.monitor_interval = 0
# How long an example takes says how busy the machine is.
settings.register_profile("bunsen", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bunsen")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", type=Path, help="folder for the README's pictures: docs")


def forget_settings() -> None:
    wait_for_connections()
    database.reset()
    get_settings.cache_clear()


def wait_for_connections() -> None:
    """A thread that outlives its test would leave its connection to the garbage collector, which
    then fails whatever test it happens to run in."""
    if not database.has_engine():
        return
    pool = database.get_engine().pool
    deadline = time.monotonic() + THREAD_PATIENCE_SECONDS
    while pool.checkedout():  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, f"the test left connections open: {pool.status()}"
        time.sleep(0.01)


def wait_for_threads(before: set[threading.Thread]) -> None:
    """A thread that outlives its test would make an engine for the next test's database before
    that database is there."""
    for thread in set(threading.enumerate()) - before:
        thread.join(THREAD_PATIENCE_SECONDS)
        assert not thread.is_alive(), f"left running: {thread}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of the test's own: no test reaches the data of a person."""
    folder = tmp_path / "home"
    monkeypatch.setenv("BUNSEN_HOME", str(folder))
    forget_settings()
    threads = set(threading.enumerate())
    yield folder
    broker.reset()
    wait_for_threads(threads)
    forget_settings()


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A short folder that other accounts may enter, for sockets and servers."""
    folder = Path(tempfile.mkdtemp(prefix="bunsen-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def migrated_sqlite(scratch: Path) -> Path:
    """A migrated database to copy: the migrations run once."""
    file = scratch / "template.db"
    engine = make_engine(f"sqlite:///{file}")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return file


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, home: Path) -> str:
    home.mkdir(exist_ok=True)
    shutil.copyfile(migrated_sqlite, home / "bunsen.db")
    return f"sqlite:///{home / 'bunsen.db'}"


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[Postgres]:
    folder = scratch / "postgres"
    folder.mkdir()
    with running_postgres(folder) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres) -> str:
    name = postgres.create()
    engine = make_engine(postgres.url(name))
    migrate.upgrade(engine)
    engine.dispose()
    return name


@pytest.fixture
def empty_postgres_url(postgres: Postgres) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def postgres_url(postgres: Postgres, migrated_postgres: str) -> Iterator[str]:
    name = postgres.create(template=migrated_postgres)
    yield postgres.url(name)
    forget_settings()
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh, migrated database that the settings name; every test of it runs on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    monkeypatch.setenv("BUNSEN_DATABASE_URL", url)
    forget_settings()
    return url


@pytest.fixture
def session_factory(database_url: str) -> Callable[[], Session]:
    return database.session_factory


@pytest.fixture
def session(session_factory: Callable[[], Session]) -> Iterator[Session]:
    """A session on a fresh database; commit it before another session shall see its rows."""
    with session_factory() as opened:
        yield opened


@pytest.fixture
def redis_url(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Redis of the test's own, named by the settings."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    with running_redis(folder) as url:
        monkeypatch.setenv("BUNSEN_BROKER_URL", url)
        get_settings.cache_clear()
        yield url


@pytest.fixture(scope="session")
def server(scratch: Path) -> Iterator[Server]:
    """One whole `bunsen up --demo` for all tests that only look or start runs of their own."""
    with running_server(scratch / "server", "--demo") as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the session: while playwright is open, asyncio.run() is refused in this thread.
    with running_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of a person nobody knows yet."""
    context = browser.new_context()
    context.set_default_timeout(PAGE_PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a test leaves pictures of what it saw; kept only with --pictures."""
    chosen: Path | None = request.config.getoption("--pictures")
    return chosen or tmp_path
