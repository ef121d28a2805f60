"""Keys to served models: one person, one run; only a hash is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, contains_eager, joinedload

from app import clock
from app.access import Action, require, visible
from app.accounts import sessions
from app.audit.record import record
from app.errors import Conflict, FieldError, InvalidInput, NotFound, TooMany
from app.i18n import N_
from app.models import EndpointKey, Run, RunState, User

PREFIX = "bsk_"
MOST = 5
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Admitted:
    """The run that a sound key opens, as far as a request needs to know it."""

    id: UUID
    state: RunState
    attempt: int


def make(session: Session, actor: User, run: Run, name: str = "") -> tuple[EndpointKey, str]:
    """A new key of the actor's to a run they see; the text is given once and not kept."""
    if run.state.is_over:
        raise Conflict(N_("The endpoint is closed; a key would open nothing."))
    name = name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        told = N_("A name has at most {most} characters, all of them visible.")
        raise InvalidInput([FieldError("name", told, {"most": LONGEST_NAME})])
    if _held(session, actor, run) >= MOST:
        raise TooMany(
            N_("You have {count} keys to this endpoint already. Revoke one first."), count=MOST
        )
    text = PREFIX + sessions.new_token()
    key = EndpointKey(
        run_id=run.id,
        user_id=actor.id,
        name=name,
        key_sha256=sessions.digest(text),
        created_at=clock.now(),
    )
    session.add(key)
    session.flush()
    record(session, actor, "endpoint_key_made", str(run.id))
    return key, text


def _held(session: Session, actor: User, run: Run) -> int:
    own = select(func.count()).where(
        EndpointKey.run_id == run.id,
        EndpointKey.user_id == actor.id,
        EndpointKey.revoked_at.is_(None),
    )
    return session.scalar(own) or 0


def of_run(session: Session, actor: User, run: Run) -> Sequence[EndpointKey]:
    """The keys to a run that the actor may know of: all, for whoever may close its endpoint."""
    statement = select(EndpointKey).where(EndpointKey.run_id == run.id)
    return session.scalars(
        statement.options(joinedload(EndpointKey.user)).order_by(
            EndpointKey.user_id != actor.id,
            EndpointKey.revoked_at.is_not(None),
            EndpointKey.created_at,
        )
    ).all()


def revoke(session: Session, actor: User, run: Run, key_id: UUID) -> EndpointKey:
    """End a key: one's own, or anybody's for whoever may close the endpoint."""
    key = session.scalar(
        select(EndpointKey)
        .where(EndpointKey.id == key_id, EndpointKey.run_id == run.id)
        .options(joinedload(EndpointKey.user))
    )
    if key is None:
        raise NotFound(N_("There is no such key."))
    if key.user_id != actor.id:
        require(actor, Action.STEER_ENDPOINT, run.owner_id)
    if key.revoked_at is None:
        key.revoked_at = clock.now()
        record(session, actor, "endpoint_key_revoked", str(run.id), person=key.user.name)
    return key


def holder(session: Session, text: str) -> EndpointKey | None:
    """The key of that text with its person; None if it was revoked or the person shut out."""
    if not text.startswith(PREFIX):
        return None
    return session.scalar(
        select(EndpointKey)
        .join(EndpointKey.user)
        .options(contains_eager(EndpointKey.user))
        .where(
            EndpointKey.key_sha256 == sessions.digest(text),
            EndpointKey.revoked_at.is_(None),
            User.disabled_at.is_(None),
        )
    )


def admit(session: Session, key: EndpointKey, run_id: UUID) -> Admitted | None:
    """The run of a key, while it is the one asked for and its holder may still see it."""
    if key.run_id != run_id:
        return None
    seen = select(Run.state, Run.attempt).where(
        Run.id == run_id, Run.deleted_at.is_(None), visible(key.user)
    )
    row = session.execute(seen).first()
    return Admitted(run_id, row.state, row.attempt) if row else None


def add_use(
    session: Session, key_id: UUID, requests: int, prompt: int, completion: int, at: datetime
) -> None:
    """Add what was used to a key's row."""
    session.execute(
        update(EndpointKey)
        .where(EndpointKey.id == key_id)
        .values(
            requests=EndpointKey.requests + requests,
            prompt_tokens=EndpointKey.prompt_tokens + prompt,
            completion_tokens=EndpointKey.completion_tokens + completion,
            last_used_at=at,
        )
    )
