"""The migrations make exactly the tables of the models, up and down, on both databases."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from app import migrate
from app.database import make_engine
from app.errors import Conflict
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
    assert migrate.standing(empty_engine) is migrate.Standing.CURRENT


def test_a_newer_database_is_left_alone(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)
    with empty_engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert migrate.standing(empty_engine) is migrate.Standing.AHEAD
    with pytest.raises(Conflict, match="newer release"):
        migrate.upgrade(empty_engine)


@pytest.mark.parametrize(("before", "after"), [*pairwise(migrate.revisions())])
def test_each_migration_adds_and_takes_nothing_away(
    empty_engine: Engine, before: str, after: str
) -> None:
    """The release before reads and writes the new tables while it is being replaced."""
    migrate.upgrade(empty_engine, before)
    old = Shape.of(empty_engine)
    migrate.upgrade(empty_engine, after)
    new = Shape.of(empty_engine)
    assert old.columns.items() <= new.columns.items(), "a column is gone or has changed"
    assert old.triggers == new.triggers
    assert old.foreign_keys == {key for key in new.foreign_keys if key[0] in old.tables}
    added = {key: new.columns[key] for key in new.columns.keys() - old.columns.keys()}
    for (table, name), (_type, is_nullable, has_default) in added.items():
        told = f"{table}.{name}: the release before cannot insert a row"
        assert table not in old.tables or is_nullable or has_default, told
    for table, names in new.unique - old.unique:
        told = f"{table} {names}: the release before does not know what must be unique"
        assert table not in old.tables or {(table, name) for name in names} <= added.keys(), told


@dataclass(frozen=True)
class Shape:
    """What a release may rely on in the tables it finds."""

    columns: dict[tuple[str, str], tuple[str, bool, bool]]
    unique: frozenset[tuple[str, frozenset[str]]]
    foreign_keys: frozenset[tuple[str, str]]
    triggers: frozenset[str]

    @property
    def tables(self) -> set[str]:
        return {table for table, _name in self.columns}

    @classmethod
    def of(cls, engine: Engine) -> Self:
        looked = inspect(engine)
        tables = looked.get_table_names()
        return cls(
            columns={
                (table, column["name"]): (
                    str(column["type"]), column["nullable"], column["default"] is not None,
                )
                for table in tables
                for column in looked.get_columns(table)
            },
            unique=frozenset(
                (table, frozenset(filter(None, index["column_names"])))
                for table in tables
                for index in looked.get_indexes(table)
                if index["unique"]
            ),
            foreign_keys=frozenset(
                (table, str(sorted(key.items())))
                for table in tables
                for key in looked.get_foreign_keys(table)
            ),
            triggers=triggers(engine),
        )  # fmt: skip


def triggers(engine: Engine) -> frozenset[str]:
    query = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    }[engine.dialect.name]
    with engine.connect() as connection:
        return frozenset(connection.execute(text(query)).scalars())


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
