"""Engine and sessions. One set of queries serves SQLite and Postgres, web and workers."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from app.settings import get_settings

BUSY_TIMEOUT_SECONDS = 10
# A client that is frozen, or whose machine vanished, must not keep its row locks for hours:
# Postgres ends what sits idle inside a transaction, and both ends notice a dead line.
POSTGRES_PATIENCE = {
    "options": "-c idle_in_transaction_session_timeout=20s -c tcp_user_timeout=20s",
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}


def make_engine(url: str) -> Engine:
    """An engine with the pragmas and locking that our promises need.

    Its errors do not quote the values of a statement: they end in logs.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(
            parsed,
            connect_args=POSTGRES_PATIENCE,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=10,
            hide_parameters=True,
            json_deserializer=read_json,
        )
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def read_json(text: str | bytes) -> Any:
    """JSON as Postgres gives it, which writes 1e30 as digits: too long for a whole number of
    anybody who reads our answers, and so the number with a point that it was."""
    found: Any = _JSON.decode(text if isinstance(text, str) else text.decode())
    return found


def _whole_or_float(digits: str) -> int | float:
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else float(value)


_JSON = json.JSONDecoder(parse_int=_whole_or_float)


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    # The driver must not open transactions by itself: a deferred one cannot be upgraded
    # once another writer has committed, and no busy timeout helps it (FULL, WAL: nothing
    # committed is lost at power loss).
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    # A reader that never writes may share; whoever says so by the execution option does.
    kind = "DEFERRED" if connection.get_execution_options().get("read_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {kind}")


_making_engine = Lock()


def get_engine() -> Engine:
    """The one engine of this process."""
    # functools.cache lets two threads that ask first at once make an engine each.
    with _making_engine:
        return _engine()


@cache
def _engine() -> Engine:
    return make_engine(get_settings().sqlalchemy_url)


@cache
def _factory(read_only: bool) -> sessionmaker[Session]:
    engine = get_engine()
    bound = engine.execution_options(read_only=True) if read_only else engine
    return sessionmaker(bound, expire_on_commit=False)


def session_factory() -> Session:
    """A session that may write."""
    return _factory(False)()


def after_commit(session: Session, call: Callable[..., object], *args: Any) -> None:
    """Call once the transaction has committed; never when it was rolled back."""
    session.info.setdefault("after_commit", []).append((call, args))


@contextmanager
def all_or_nothing(session: Session) -> Iterator[None]:
    """A part of a transaction that fails as a whole, with the calls that waited for the commit."""
    waiting = list(session.info.get("after_commit", []))
    try:
        with session.begin_nested():
            yield
    except BaseException:
        session.info["after_commit"] = waiting
        raise


def commit(session: Session) -> None:
    """Commit, then make the calls that waited for it."""
    session.commit()
    for call, args in session.info.pop("after_commit", []):
        call(*args)


@contextmanager
def transaction() -> Iterator[Session]:
    """A writing transaction for workers and the command line."""
    with session_factory() as session:
        yield session
        commit(session)


@contextmanager
def reading() -> Iterator[Session]:
    """A session that only reads; on SQLite it never waits for a writer."""
    with _factory(True)() as session:
        yield session


def get_session() -> Iterator[Session]:
    """The transaction of one unsafe request. Declare it `Depends(get_session, scope="function")`."""
    with transaction() as session:
        yield session


def get_reader() -> Iterator[Session]:
    """The session of one safe request. Declare it `Depends(get_reader, scope="function")`."""
    with reading() as session:
        yield session


def reset() -> None:
    """Forget engine and sessions; for tests and after the settings change."""
    if has_engine():
        get_engine().dispose()
    _engine.cache_clear()
    _factory.cache_clear()


def has_engine() -> bool:
    """Whether anything asked for the database since the last reset."""
    return _engine.cache_info().currsize > 0
