"""Bring the database to the version this code needs, and say which version it has.

A migration is one transaction on both databases: whoever is killed in the middle of it leaves
what was there before, which the release before goes on with.
"""

from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from app.errors import Conflict
from app.settings import ROOT

UPGRADE_LOCK = 7_203_018


class Standing(StrEnum):
    """How the database stands to this code."""

    CURRENT = "up to date"
    EMPTY = "without tables"
    BEHIND = "older than this code"
    AHEAD = "newer than this code"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(ROOT) / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Apply what is missing, all or nothing.

    Raises:
        Conflict: If the database belongs to a newer release.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two may start at once; SQLite lets one writer in by itself.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        if (has := _revision(connection)) and has not in revisions():
            raise Conflict(
                "The database is of a newer release (migration {has}). Start that release, or "
                "restore the copy that was made before its upgrade.",
                has=has,
            )
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def standing(engine: Engine) -> Standing:
    """Whether the database has every migration of this code, and no other."""
    with engine.execution_options(read_only=True).connect() as connection:
        has = _revision(connection)
    if has is None:
        return Standing.EMPTY
    if has == head():
        return Standing.CURRENT
    return Standing.BEHIND if has in revisions() else Standing.AHEAD


def head() -> str:
    """The newest migration of this code."""
    return revisions()[-1]


def revisions() -> list[str]:
    """The migrations of this code, the first one first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def write_revision(engine: Engine, message: str, number: str) -> None:
    """For developers: a new revision file from the difference between models and database."""
    with engine.connect() as connection:
        command.revision(_config(connection), message=message, autogenerate=True, rev_id=number)
