"""Alembic's entry: migrates the database of the settings, or a connection handed in."""

from alembic import context
from sqlalchemy import Connection

from app.database import make_engine
from app.models import Base
from app.settings import get_settings


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_in: Connection | None = context.config.attributes.get("connection")
if handed_in is not None:
    migrate(handed_in)
else:
    with make_engine(get_settings().sqlalchemy_url).connect() as connection:
        migrate(connection)
        connection.commit()
