"""Back up and restore the database, on SQLite and on Postgres."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from app import migrate
from app.database import get_engine, reset
from app.errors import AppError, Conflict, MissingHere, Unavailable
from app.settings import get_settings


class Unfit(AppError):
    """The named file cannot be used."""

    status_code = 422
    title = "Unfit file"


def backup(target: Path) -> None:
    """Writes a consistent copy; everything may go on running."""
    if target.exists():
        raise Unfit("{file} exists already; choose another name.", file=target)
    url = make_url(get_settings().sqlalchemy_url)
    if url.get_backend_name() == "sqlite":
        _backup_sqlite(_file(url), target)
    else:
        _dump(url, target)


def upgrade() -> str:
    """Brings the database to this version; says where a copy of what it held before is."""
    engine = get_engine()
    kept = ""
    if migrate.standing(engine) is migrate.Standing.BEHIND:
        kept = _keep_a_copy(make_url(get_settings().sqlalchemy_url))
    migrate.upgrade(engine)
    return kept


def _keep_a_copy(url: URL) -> str:
    """A copy made before an upgrade that did not happen is of no use: it gives way to this one."""
    if url.get_backend_name() != "sqlite":
        return _keep_a_dump(url)
    database = _file(url)
    target = database.with_name(f"{database.name}.before-{migrate.head()}")
    free, size = shutil.disk_usage(database.parent).free, database.stat().st_size
    if free < size:
        raise Unavailable(
            "There is no room for a copy of the database before its upgrade: "
            "{size} bytes are needed in {folder}, {free} are free.",
            size=size,
            folder=database.parent,
            free=free,
        )
    _backup_sqlite(database, target)
    return f"A copy of the database before its upgrade: {target}"


def _keep_a_dump(url: URL) -> str:
    """Where pg_dump is missing or too old, the upgrade's own transaction must do."""
    target = get_settings().home / f"postgres.before-{migrate.head()}"
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _dump(url, part)
    except AppError as error:
        part.unlink(missing_ok=True)
        return f"No copy was made of the database before its upgrade. {error}"
    part.replace(target)
    return f"A copy of the database before its upgrade: {target}"


def restore(source: Path) -> None:
    """Puts a copy back in place of the database and brings it to this version."""
    if not source.is_file():
        raise Unfit("There is no file {file}.", file=source)
    _refuse_while_running()
    url = make_url(get_settings().sqlalchemy_url)
    if url.get_backend_name() == "sqlite":
        _restore_sqlite(source, _file(url))
    else:
        options = ("--clean", "--if-exists", "--no-owner", "--single-transaction")
        _postgres(url, "pg_restore", *options, f"--dbname={url.database}", str(source))
    migrate.upgrade(get_engine())


def _file(url: URL) -> Path:
    return Path(url.database or "")


def _backup_sqlite(database: Path, target: Path) -> None:
    if not database.exists():
        raise MissingHere("There is no database at {file} yet.", file=database)
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(part)) as copy:
        live.backup(copy)
        # A single file without a journal beside it, whatever mode the original is in.
        copy.execute("PRAGMA journal_mode=DELETE")
    _check_sqlite(part)
    part.replace(target)


def _restore_sqlite(source: Path, database: Path) -> None:
    _check_sqlite(source)
    reset()
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = database.with_name(database.name + ".part")
    shutil.copyfile(source, part)
    if database.exists():
        _backup_sqlite(database, database.with_name(database.name + ".before-restore"))
    for leftover in ("-wal", "-shm"):
        database.with_name(database.name + leftover).unlink(missing_ok=True)
    part.replace(database)


def _check_sqlite(file: Path) -> None:
    """Refuses what is damaged, or no database of ours, before anything is replaced."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.DatabaseError as error:
        raise Unfit("{file} is no SQLite database.", file=file) from error
    if verdict != "ok" or ("alembic_version",) not in tables:
        raise Unfit("{file} is damaged or no database of Bunsen.", file=file)


def _refuse_while_running() -> None:
    claim = get_settings().home / "up.json"
    if not claim.exists():
        return
    with claim.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("Bunsen is running. Stop it before the database is replaced.") from error


def _dump(url: URL, target: Path) -> None:
    _postgres(url, "pg_dump", "--format=custom", "--no-owner", f"--file={target}")


def _postgres(url: URL, program: str, *options: str) -> None:
    """Runs one of Postgres' own programs. The password travels in its environment, not in `ps`."""
    found = shutil.which(program)
    if found is None:
        raise MissingHere(
            "{program} is missing (Debian and Ubuntu: apt-get install postgresql-client).",
            program=program,
        )
    done = subprocess.run(
        [found, *options], env=_connection(url), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AppError("{program} failed: {reason}", program=program, reason=done.stderr.strip())


def _connection(url: URL) -> dict[str, str]:
    host = url.host or url.query.get("host") or ""
    settings = {
        "PGHOST": str(host),
        "PGPORT": str(url.port or ""),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
    }
    return {**os.environ, **{name: value for name, value in settings.items() if value}}
