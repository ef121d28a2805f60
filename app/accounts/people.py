"""People: adding them, letting them in, disabling them, and their API tokens."""

import re
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app import clock
from app.accounts import sessions
from app.audit.record import record
from app.errors import FieldError, InvalidInput, NotFound
from app.i18n import N_
from app.models import ApiToken, EntryLink, Role, User

LINK_LIFE = timedelta(days=7)
NAME = re.compile(r"\w[\w.@-]{0,63}")


class LinkSpent(NotFound):
    """The one-time link was used, is too old, or never was one."""

    title = N_("This link no longer works")


def add_user(session: Session, name: str, role: Role | str, actor: User | None = None) -> User:
    """A new person without a password; an entry link lets them in."""
    name = name.strip()
    problems = [*_name_problems(session, name), *_role_problems(role)]
    if problems:
        raise InvalidInput(problems)
    user = User(name=name, role=Role(role), created_at=clock.now())
    session.add(user)
    session.flush()
    record(session, actor, "user.add", name, role=user.role.value)
    return user


def _name_problems(session: Session, name: str) -> list[FieldError]:
    if NAME.fullmatch(name) is None:
        return [
            FieldError(
                "name",
                N_("A name has 1 to 64 letters, digits, dots, hyphens, underscores or @."),
            )
        ]
    taken = session.scalar(select(User.id).where(func.lower(User.name) == name.lower()))
    return [FieldError("name", N_("“{name}” is taken."), {"name": name})] if taken else []


def _role_problems(role: str) -> list[FieldError]:
    if role in list(Role):
        return []
    known = ", ".join(Role)
    return [FieldError("role", N_("Choose one of: {known}."), {"known": known})]


def find_user(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.name == name.strip()))


def get_user(session: Session, user_id: UUID) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound(N_("There is no such person."))
    return user


def list_users(session: Session) -> Sequence[User]:
    return session.scalars(select(User).order_by(User.disabled_at.is_not(None), User.name)).all()


def entry_link(session: Session, user: User, actor: User | None = None) -> str:
    """The token of a new one-time link. Earlier unused links of the person stop working."""
    now = clock.now()
    session.execute(
        update(EntryLink)
        .where(EntryLink.user_id == user.id, EntryLink.used_at.is_(None))
        .values(used_at=now)
    )
    token = sessions.new_token()
    session.add(
        EntryLink(
            token_sha256=sessions.digest(token),
            user_id=user.id,
            created_at=now,
            expires_at=now + LINK_LIFE,
        )
    )
    record(session, actor, "user.link", user.name)
    return token


def link_owner(session: Session, token: str) -> User | None:
    """Whose link this is, used up or not."""
    return session.scalar(
        select(User)
        .join(EntryLink, EntryLink.user_id == User.id)
        .where(EntryLink.token_sha256 == sessions.digest(token))
    )


def enter(session: Session, token: str) -> User:
    """Use a link up and give its person; of two uses at once exactly one wins."""
    now = clock.now()
    user_id = session.scalar(
        update(EntryLink)
        .where(
            EntryLink.token_sha256 == sessions.digest(token),
            EntryLink.used_at.is_(None),
            EntryLink.expires_at > now,
        )
        .values(used_at=now)
        .returning(EntryLink.user_id)
    )
    user = session.get(User, user_id) if user_id else None
    if user is None or user.disabled_at is not None:
        raise LinkSpent(
            N_(
                "A link lets one person in once, within seven days. "
                "Ask an admin for a new one: “./bunsen user link {name}” prints it."
            ),
            name=user.name if user else N_("NAME"),
        )
    return user


def disable(session: Session, user: User, actor: User | None = None) -> None:
    """Shut a person out: their sessions end at once. `leaving.shut_out` sees to their runs."""
    if actor is not None and actor.id == user.id:
        raise InvalidInput([FieldError("", N_("You cannot disable yourself."))])
    user.disabled_at = clock.now()
    sessions.end_all(session, user.id)
    record(session, actor, "user.disable", user.name)


def enable(session: Session, user: User, actor: User | None = None) -> None:
    user.disabled_at = None
    record(session, actor, "user.enable", user.name)


def create_api_token(
    session: Session, user: User, expires_in: timedelta | None = None, actor: User | None = None
) -> str:
    """A new bearer token; the text is given once and not kept."""
    token = "bunsen_" + sessions.new_token()
    now = clock.now()
    session.add(
        ApiToken(
            token_sha256=sessions.digest(token),
            user_id=user.id,
            created_at=now,
            expires_at=now + expires_in if expires_in is not None else None,
        )
    )
    record(session, actor or user, "token.create", user.name)
    return token


def api_tokens(session: Session, user: User) -> Sequence[ApiToken]:
    return session.scalars(
        select(ApiToken).where(ApiToken.user_id == user.id).order_by(ApiToken.created_at.desc())
    ).all()


def delete_api_token(session: Session, user: User, token_id: UUID) -> None:
    token = session.get(ApiToken, token_id)
    if token is None or token.user_id != user.id:
        raise NotFound(N_("There is no such token."))
    session.delete(token)
    record(session, user, "token.delete", user.name)
