"""Who asks: sessions of browsers, tokens of scripts, and the dependencies routes declare.

The person is found in a transaction of its own, so that a route's session begins with the
route's work. `Actor`, `Reader` and `Writer` are what route signatures say.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app import clock
from app.accounts import sessions
from app.database import get_reader, get_session, reading, transaction
from app.errors import Forbidden, NotSignedIn
from app.i18n import N_
from app.models import Role, User
from app.settings import get_settings

log = logging.getLogger(__name__)

Reader = Annotated[Session, Depends(get_reader, scope="function")]
Writer = Annotated[Session, Depends(get_session, scope="function")]


def cookie_name() -> str:
    return "__Host-session" if get_settings().secure_cookies else "session"


def session_token(request: Request) -> str | None:
    return request.cookies.get(cookie_name())


def find_actor(request: Request) -> User | None:
    """The person behind a request, or None. An Authorization header rules out the cookie."""
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        return _by_bearer(token.strip()) if scheme.lower() == "bearer" else None
    token = session_token(request) or ""
    return _by_session(token) if token else None


def _by_session(token: str) -> User | None:
    now = clock.now()
    with reading() as session:
        found = sessions.find(session, token, now)
    if found is None:
        return None
    if now - found.seen_at >= sessions.SEEN_STEP:
        _note(sessions.touch, found.token_sha256, now)
    return found.user


def _by_bearer(token: str) -> User | None:
    now = clock.now()
    with reading() as session:
        found = sessions.bearer(session, token, now)
    if found is None:
        return None
    if found.used_at is None or now - found.used_at >= sessions.SEEN_STEP:
        _note(sessions.touch_bearer, found.token_sha256, now)
    return found.user


def _note(touch: Callable[[Session, str, datetime], None], key: str, now: datetime) -> None:
    try:
        with transaction() as session:
            touch(session, key, now)
    except OperationalError as error:
        # The time of last use is worth less than the page that was asked for.
        log.warning("the time of last use was not noted: %s", error.orig)


def possible_user(request: Request) -> User | None:
    """The person who asks, or None; for pages that strangers may see."""
    request.state.actor = find_actor(request)
    actor: User | None = request.state.actor
    return actor


# A plain function would be sent to a thread and back: on a busy machine that costs milliseconds.
async def current_user(actor: Annotated[User | None, Depends(possible_user)]) -> User:
    """The person who asks; a stranger is sent to sign in."""
    if actor is None:
        raise NotSignedIn(N_("Sign in to see this."))
    return actor


Actor = Annotated[User, Depends(current_user)]


def require_role(*roles: Role) -> Callable[[User], Awaitable[User]]:
    """A dependency that lets only these roles in."""

    async def check(actor: Actor) -> User:
        if actor.role not in roles:
            raise Forbidden(N_("Your role ({role}) does not allow this."), role=actor.role.value)
        return actor

    return check


Admin = Annotated[User, Depends(require_role(Role.ADMIN))]


def own_path(target: str) -> str:
    """Where to go next, on this site only."""
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if inside and target.isprintable() else "/"


def sign_in(request: Request, response: Response, session: Session, user: User) -> None:
    """Give the browser a new session; an earlier one of this browser ends."""
    earlier = session_token(request)
    if earlier:
        sessions.end(session, earlier)
    address = request.client.host if request.client else ""
    agent = request.headers.get("user-agent", "")
    token = sessions.start(session, user, clock.now(), agent, address)
    set_cookie(response, cookie_name(), token, int(sessions.LONGEST.total_seconds()))
    if user.language:
        remember(response, "language", user.language)


def sign_out(request: Request, response: Response, session: Session) -> None:
    token = session_token(request)
    if token:
        sessions.end(session, token)
    response.delete_cookie(
        cookie_name(), path="/", secure=get_settings().secure_cookies, httponly=True, samesite="lax"
    )


def remember(response: Response, name: str, value: str) -> None:
    """Keep a choice of appearance in this browser for a year."""
    set_cookie(response, name, value, 365 * 24 * 3600)


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=get_settings().secure_cookies,
        httponly=True,
        samesite="lax",
    )
