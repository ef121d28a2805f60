"""Signed-in browsers: rows of the database, so that any of them can be ended."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.orm import Session, contains_eager

from app.models import ApiToken, LoginSession, User

IDLE = timedelta(hours=8)
LONGEST = timedelta(days=7)
SEEN_STEP = timedelta(minutes=1)


def new_token() -> str:
    """256 bits that only the browser or script keeps."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def start(session: Session, user: User, now: datetime, agent: str, address: str) -> str:
    """A new session with a token of its own; dead ones of the same person go."""
    session.execute(
        delete(LoginSession).where(
            LoginSession.user_id == user.id,
            or_(LoginSession.seen_at < now - IDLE, LoginSession.created_at < now - LONGEST),
        )
    )
    token = new_token()
    session.add(
        LoginSession(
            token_sha256=digest(token),
            user_id=user.id,
            created_at=now,
            seen_at=now,
            agent=agent[:255],
            address=address[:64],
        )
    )
    return token


# Every request asks for one of these two people, so each statement is made once.
_FIND = (
    select(LoginSession)
    .join(LoginSession.user)
    .options(contains_eager(LoginSession.user))
    .where(
        LoginSession.token_sha256 == bindparam("digest"),
        LoginSession.seen_at >= bindparam("seen"),
        LoginSession.created_at >= bindparam("created"),
        User.disabled_at.is_(None),
    )
)
_BEARER = (
    select(ApiToken)
    .join(ApiToken.user)
    .options(contains_eager(ApiToken.user))
    .where(
        ApiToken.token_sha256 == bindparam("digest"),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > bindparam("now")),
        User.disabled_at.is_(None),
    )
)


def find(session: Session, token: str, now: datetime) -> LoginSession | None:
    """The living session of a token, with its person."""
    values = {"digest": digest(token), "seen": now - IDLE, "created": now - LONGEST}
    return session.scalar(_FIND, values)


def touch(session: Session, token_sha256: str, now: datetime) -> None:
    session.execute(
        update(LoginSession).where(LoginSession.token_sha256 == token_sha256).values(seen_at=now)
    )


def of(session: Session, user_id: UUID) -> Sequence[LoginSession]:
    """A person's sessions, the one used last first."""
    return session.scalars(
        select(LoginSession)
        .where(LoginSession.user_id == user_id)
        .order_by(LoginSession.seen_at.desc())
    ).all()


def end(session: Session, token: str) -> None:
    session.execute(delete(LoginSession).where(LoginSession.token_sha256 == digest(token)))


def end_all(session: Session, user_id: UUID, but: str | None = None) -> None:
    """Sign a person out everywhere, or everywhere else when `but` is their own token."""
    statement = delete(LoginSession).where(LoginSession.user_id == user_id)
    if but is not None:
        statement = statement.where(LoginSession.token_sha256 != digest(but))
    session.execute(statement)


def bearer(session: Session, token: str, now: datetime) -> ApiToken | None:
    """The valid API token of that text, with its person."""
    return session.scalar(_BEARER, {"digest": digest(token), "now": now})


def touch_bearer(session: Session, token_sha256: str, now: datetime) -> None:
    session.execute(
        update(ApiToken).where(ApiToken.token_sha256 == token_sha256).values(used_at=now)
    )
