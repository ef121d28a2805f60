"""Bring the database to the version this code needs, and say which version it has."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from app.settings import ROOT


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(ROOT) / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def is_current(engine: Engine) -> bool:
    """Whether the database has every migration of this code."""
    with engine.connect() as connection:
        has = MigrationContext.configure(connection).get_current_revision()
    return has == ScriptDirectory.from_config(_config()).get_current_head()


def write_revision(engine: Engine, message: str, number: str) -> None:
    """For developers: a new revision file from the difference between models and database."""
    with engine.connect() as connection:
        command.revision(_config(connection), message=message, autogenerate=True, rev_id=number)
