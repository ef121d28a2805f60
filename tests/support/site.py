"""A whole site in the test process: people, and clients that sign in as them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import uvicorn
from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import clock
from app.accounts import people
from app.audit.record import record
from app.database import transaction
from app.main import create_app
from app.models import Classroom, Enrollment, Role, User

BASE_URL = "http://bunsen.test"
SAME_ORIGIN = {"Origin": BASE_URL}
PEOPLE = {
    "ada": Role.ADMIN,
    "maria": Role.INSTRUCTOR,
    "tariq": Role.INSTRUCTOR,
    "sam": Role.STUDENT,
    "tess": Role.STUDENT,
}


@cache
def shared_app() -> FastAPI:
    """One application for all tests: it holds no state of a site."""
    return create_app()


@dataclass
class Site:
    """What a test of pages or of the API works with."""

    app: FastAPI = field(default_factory=shared_app)
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

    def token(self, name: str) -> str:
        with transaction() as session:
            return people.create_api_token(session, self.people[name])

    def script(self, name: str) -> TestClient:
        """A script with a bearer token."""
        headers = {"Authorization": f"Bearer {self.token(name)}"}
        return TestClient(self.app, base_url=BASE_URL, headers=headers)

    def enroll(self, classroom: str, *names: str) -> None:
        """A class of these people; each has the role in it that they have on the site."""
        with transaction() as session:
            self._enroll(session, classroom, *names)

    def _enroll(self, session: Session, classroom: str, *names: str) -> None:
        people = [self.people[name] for name in names]
        made = Classroom(name=classroom, created_at=people[0].created_at)
        session.add_all(Enrollment(classroom=made, user=user, role=user.role) for user in people)


def two_classes() -> Site:
    """maria teaches sam, tariq teaches tess; ada is the admin.

    What `add` and `enroll` would write, in one transaction: most tests begin with it.
    """
    now = clock.now()
    site = Site(people={n: User(name=n, role=role, created_at=now) for n, role in PEOPLE.items()})
    with transaction() as session:
        session.add_all(site.people.values())
        for user in site.people.values():
            record(session, None, "user.add", user.name, role=user.role.value)
        site._enroll(session, "Monday", "maria", "sam")
        site._enroll(session, "Tuesday", "tariq", "tess")
    return site


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application behind a real server in a thread; gives its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", lifespan="off",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
