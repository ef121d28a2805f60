"""A whole site in the test process: data folder, database, people, and clients that sign in."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import database, migrate
from app.accounts import people
from app.database import transaction
from app.main import create_app
from app.models import Classroom, Enrollment, Role, User
from app.settings import get_settings

BASE_URL = "http://bunsen.test"
SAME_ORIGIN = {"Origin": BASE_URL}


@cache
def _migrated_database(folder: Path) -> Path:
    """A database with every table, copied for each test: migrating takes a second."""
    path = folder / "migrated.db"
    engine = database.make_engine(f"sqlite:///{path}")
    migrate.upgrade(engine)
    engine.dispose()
    return path


@cache
def _folder() -> Path:
    return Path(mkdtemp(prefix="bunsen-test-"))


@dataclass
class Site:
    """What a test of pages or of the API works with."""

    home: Path
    app: FastAPI
    people: dict[str, User] = field(default_factory=dict)

    def add(self, name: str, role: Role = Role.STUDENT) -> User:
        with transaction() as session:
            self.people[name] = people.add_user(session, name, role)
        return self.people[name]

    def client(self, name: str | None = None, **headers: str) -> TestClient:
        """A browser: signed in as this person, or nobody's."""
        client = TestClient(
            self.app, base_url=BASE_URL, headers={**SAME_ORIGIN, **headers}, follow_redirects=False
        )
        if name is not None:
            response = client.get(f"/enter/{self.link(name)}")
            assert response.status_code == 303, response.text
        return client

    def link(self, name: str) -> str:
        with transaction() as session:
            return people.entry_link(session, self.people[name])

    def script(self, name: str) -> TestClient:
        """A script with a bearer token."""
        with transaction() as session:
            token = people.create_api_token(session, self.people[name])
        return TestClient(self.app, base_url=BASE_URL, headers={"Authorization": f"Bearer {token}"})

    def enroll(self, classroom: str, *names: str) -> None:
        """A class of these people; each has the role in it that they have on the site."""
        with transaction() as session:
            made = Classroom(name=classroom, created_at=self.people[names[0]].created_at)
            session.add(made)
            session.flush()
            for name in names:
                user = self.people[name]
                session.add(Enrollment(classroom_id=made.id, user_id=user.id, role=user.role))


@contextmanager
def opened_site(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("BUNSEN_HOME", str(home))
    monkeypatch.delenv("BUNSEN_DATABASE_URL", raising=False)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(_migrated_database(_folder()), home / "bunsen.db")
    get_settings.cache_clear()
    database.reset()
    try:
        yield Site(home, create_app())
    finally:
        database.reset()
        get_settings.cache_clear()
