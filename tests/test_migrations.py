"""The migrations make exactly the tables of the models, up and down, on both databases."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from app import migrate
from app.database import make_engine
from app.models import Base


@pytest.fixture(params=["sqlite", "postgres"])
def empty_engine(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = make_engine(f"sqlite:///{tmp_path}/empty.db")
    else:
        engine = make_engine(request.getfixturevalue("empty_postgres_url"))
    yield engine
    engine.dispose()


def test_up_down_up_leaves_the_tables_of_the_models(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)
    migrate.downgrade(empty_engine, "base")
    assert set(inspect(empty_engine).get_table_names()) <= {"alembic_version"}
    migrate.upgrade(empty_engine)
    with empty_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert migrate.is_current(empty_engine)


def test_the_database_itself_refuses_to_change_a_run_that_is_over(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)
    with empty_engine.begin() as connection:
        _insert_finished_run(connection)
    with pytest.raises(DBAPIError, match="does not change"), empty_engine.begin() as connection:
        connection.execute(text("UPDATE runs SET state = 'queued'"))


def _insert_finished_run(connection: object) -> None:
    from datetime import UTC, datetime

    from sqlalchemy.orm import Session

    from app.models import Dataset, LanguageModel, Role, Run, RunState, User

    now = datetime(2026, 1, 2, tzinfo=UTC)
    with Session(connection) as session:  # type: ignore[arg-type]
        owner = User(name="ada", role=Role.STUDENT, created_at=now)
        model = LanguageModel(name="m", path="m", facts={}, created_at=now)
        rows = Dataset(
            name="d", format="alpaca", path="d", sha256="0", bytes=1, rows=1, verdict={},
            created_at=now,
        )  # fmt: skip
        session.add_all([owner, model, rows])
        session.flush()
        session.add(
            Run(
                owner_id=owner.id, name="r", lab="lora", code_version="1", stages=[], params={},
                seed=1, base_model_id=model.id, dataset_id=rows.id, estimate={},
                state=RunState.SUCCEEDED, created_at=now, queued_at=now,
            )
        )  # fmt: skip
        session.flush()
