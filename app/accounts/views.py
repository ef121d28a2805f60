"""What the pages of accounts show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session
from starlette.requests import Request

from app.accounts import people, sessions
from app.accounts.leaving import unfinished_runs
from app.errors import AppError, InvalidInput
from app.html import site_of
from app.i18n import sentence
from app.models import ApiToken, LoginSession, Role, User
from app.security import session_token


def told_errors(error: AppError | None) -> dict[str, str]:
    """Sentences by field; `""` is the form as a whole."""
    if error is None:
        return {}
    if not isinstance(error, InvalidInput):
        return {"": sentence(error.message, error.values)}
    return {each.field: sentence(each.message, each.values) for each in error.errors}


@dataclass(frozen=True, slots=True)
class LoginPage:
    """Name and password. Rendered by accounts/login.html."""

    name: str = ""
    next: str = "/"
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountPage:
    """One's own password, language, sessions and tokens. Rendered by accounts/account.html."""

    user: User
    sessions: Sequence[LoginSession]
    this_session: str
    tokens: Sequence[ApiToken]
    new_token: str
    done: str
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """Everybody who may enter. Rendered by accounts/people.html."""

    people: Sequence[User]
    unfinished: Mapping[UUID, int]
    roles: Sequence[Role]
    name: str
    role: str
    link: str
    link_for: str
    errors: Mapping[str, str]


def account_page(
    request: Request,
    session: Session,
    actor: User,
    *,
    new_token: str = "",
    done: str = "",
    error: AppError | None = None,
) -> AccountPage:
    return AccountPage(
        user=people.get_user(session, actor.id),
        sessions=sessions.of(session, actor.id),
        this_session=sessions.digest(session_token(request) or ""),
        tokens=people.api_tokens(session, actor),
        new_token=new_token,
        done=done,
        errors=told_errors(error),
    )


def people_page(
    session: Session,
    *,
    name: str = "",
    role: str = Role.STUDENT,
    link: str = "",
    link_for: str = "",
    error: AppError | None = None,
) -> PeoplePage:
    return PeoplePage(
        people=people.list_users(session),
        unfinished=unfinished_runs(session),
        roles=tuple(Role),
        name=name,
        role=role,
        link=link,
        link_for=link_for,
        errors=told_errors(error),
    )


def entry_address(request: Request, token: str) -> str:
    """The whole address of a one-time link, as its person opens it."""
    return f"{site_of(request)}/enter/{token}"
