"""The verbs about people: add, link, list, token; and the people of the demo class."""

import json
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.accounts import people
from app.database import reading, transaction
from app.errors import NotFound
from app.models import Classroom, Enrollment, Role, User
from app.settings import get_settings

ADMIN = "admin"
DEMO_CLASS = "Demo class"
DEMO_PEOPLE = {
    "instructor": Role.INSTRUCTOR,
    "student1": Role.STUDENT,
    "student2": Role.STUDENT,
    "student3": Role.STUDENT,
}


def add(name: str, role: str) -> int:
    with transaction() as session:
        user = people.add_user(session, name, Role(role))
        token = people.entry_link(session, user)
    print(f"Added {name} ({role}). This link lets them in once:")
    print(link_url(token))
    return 0


def link(name: str) -> int:
    with transaction() as session:
        token = people.entry_link(session, find(session, name))
    print(link_url(token))
    return 0


def show_all() -> int:
    with reading() as session:
        for user in people.list_users(session):
            state = "disabled" if user.disabled_at else "active"
            print(f"{user.name}\t{user.role.value}\t{state}")
    return 0


def create_token(name: str, expires: timedelta | None) -> int:
    with transaction() as session:
        token = people.create_api_token(session, find(session, name), expires)
    print(f"An API token of {name}, shown only now:")
    print(token)
    return 0


def find(session: Session, name: str) -> User:
    user = people.find_user(session, name)
    if user is None:
        raise NotFound("There is no user {name}. `bunsen user list` shows everybody.", name=name)
    return user


def link_url(token: str, url: str = "") -> str:
    return f"{url or running_url()}/enter/{token}"


def running_url() -> str:
    """The configured address, else the one of a running `bunsen up`, else the default one."""
    settings = get_settings()
    if settings.public_url:
        return settings.public_url.rstrip("/")
    try:
        return str(json.loads((settings.home / "up.json").read_text())["url"])
    except (OSError, ValueError):
        return "http://127.0.0.1:8000"


def entry_links(url: str, demo: bool) -> list[tuple[str, str]]:
    """A fresh link for the admin, who is made at the first start, then for the demo's people."""
    with transaction() as session:
        admin = first_admin(session) or people.add_user(session, ADMIN, Role.ADMIN)
        users = [admin, *(demo_people(session) if demo else [])]
        return [(user.name, link_url(people.entry_link(session, user), url)) for user in users]


def first_admin(session: Session) -> User | None:
    admins = select(User).where(User.role == Role.ADMIN, User.disabled_at.is_(None))
    return session.scalar(admins.order_by(User.created_at).limit(1))


def demo_people(session: Session) -> list[User]:
    """The demo class and its people; what is there already is left as it is."""
    classroom = session.scalar(select(Classroom).where(Classroom.name == DEMO_CLASS))
    if classroom is None:
        classroom = Classroom(name=DEMO_CLASS, created_at=clock.now())
        session.add(classroom)
        session.flush()
    users = []
    for name, role in DEMO_PEOPLE.items():
        user = people.find_user(session, name) or people.add_user(session, name, role)
        if session.get(Enrollment, (classroom.id, user.id)) is None:
            enrollment = Enrollment(classroom_id=classroom.id, user_id=user.id, role=role)
            session.add(enrollment)
        users.append(user)
    return users
