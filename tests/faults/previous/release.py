"""A release of before, as `record.py` noted it: its rows in an empty database, its statements."""

import gzip
import json
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import Engine

from app import migrate
from app.models import Base
from tests.faults.previous.values import from_json, to_json

Rows = dict[str, list[dict[str, Any]]]


class Release:
    """What one release did to one kind of database."""

    def __init__(self, revision: str, recorded: dict[str, Any]) -> None:
        self.revision = revision
        self.before: Rows = recorded["before"]
        self.after: Rows = recorded["after"]
        self.words: dict[str, list[str]] = recorded["words"]
        self.files: dict[str, str] = recorded["run"]
        self._transactions: list[list[Any]] = recorded["transactions"]

    @classmethod
    def recorded(cls, revision: str, database: str) -> Self:
        file = Path(__file__).with_name(f"{revision}-{database}.json.gz")
        return cls(revision, json.loads(gzip.decompress(file.read_bytes())))

    def found(self, engine: Engine, rows: Rows, upgraded: bool = True) -> None:
        """Leave these rows in the tables of that release, and upgrade the database."""
        migrate.upgrade(engine, self.revision)
        with engine.begin() as connection:
            for table in Base.metadata.sorted_tables:
                for row in rows.get(table.name, []):
                    connection.execute(_insert(table, row))
        if upgraded:
            migrate.upgrade(engine)

    def leave_files(self, run_dir: Path) -> None:
        """The run directory of the run in the middle."""
        run_dir.mkdir(parents=True)
        for name, content in self.files.items():
            (run_dir / name).write_text(content)

    def replay(self, engine: Engine) -> None:
        """Every statement again, as its web server and its worker sent them."""
        for statements in self._transactions:
            connection = engine.raw_connection()
            cursor = connection.cursor()
            if engine.dialect.name == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            for text, parameters in statements:
                _send(cursor, text, from_json(parameters))
            connection.commit()
            connection.close()

    def what_it_sees(self, engine: Engine) -> Rows:
        """The rows of all tables, with the columns that this release knows."""
        with engine.connect() as connection:
            return {
                name: _sorted(to_json(dict(row._mapping)) for row in connection.execute(query))
                for name, query in self._queries()
            }

    def expected(self) -> Rows:
        return {name: _sorted(rows) for name, rows in self.after.items() if rows}

    def _queries(self) -> list[tuple[str, Any]]:
        tables = Base.metadata.tables
        return [
            (name, sa.select(*(tables[name].c[column] for column in rows[0])))
            for name, rows in self.after.items()
            if rows
        ]


def _insert(table: sa.Table, row: dict[str, Any]) -> Any:
    """Without the defaults of the models, which may be those of columns that are not there."""
    there = sa.table(table.name, *(sa.column(name, table.c[name].type) for name in row))
    values = {name: from_json(value) for name, value in row.items()}
    return sa.insert(there).values(
        {name: sa.null() if value is None else value for name, value in values.items()}
    )


def _send(cursor: Any, text: str, parameters: Any) -> None:
    if isinstance(parameters, list) and parameters and isinstance(parameters[0], list | dict):
        cursor.executemany(text, parameters)
        return
    cursor.execute(text, parameters)
    if cursor.description:
        cursor.fetchall()


def _sorted(rows: Any) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
