"""What the app itself asks a trainer's server: how it stands, to stay open longer, to close."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, require
from app.audit.record import record
from app.database import reading, transaction
from app.endpoints.address import Front
from app.endpoints.passage import connection
from app.endpoints.refusals import Unreachable
from app.endpoints.standing import LONGEST_SECONDS, Stand, front_to, serving_run
from app.i18n import N_
from app.models import User

PATIENCE_SECONDS = 5.0
# A page that only looks does not wait for a trainer that is busy.
GLANCE_SECONDS = 1.0
LARGEST = 64 << 10
EXTENSION_MINUTES = 10
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a trainer's server counted, the requests from the page of the run included."""

    active: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    closes_at: datetime | None
    is_closing: bool


def figures_of(front: Front) -> Figures | None:
    """What the server counts now; None where it does not say."""
    try:
        told = _ask(front, "GET", "status", patience=GLANCE_SECONDS)
    except Unreachable:
        return None
    return Figures(
        active=_count(told, "active"),
        requests=_count(told, "requests"),
        prompt_tokens=_count(told, "prompt_tokens"),
        completion_tokens=_count(told, "completion_tokens"),
        closes_at=_closing(told.get("closes_in_seconds")),
        is_closing=told.get("state") == Stand.CLOSED,
    )


def extend(actor: User, run_id: UUID, minutes: int = EXTENSION_MINUTES) -> None:
    """Keep an endpoint open for so many minutes more."""
    _steer(actor, run_id, "endpoint_extended", "extension", {"seconds": minutes * 60})


def close(actor: User, run_id: UUID) -> None:
    """Close an endpoint now; its run goes on to its end."""
    _steer(actor, run_id, "endpoint_closed", "closing", {})


def _steer(actor: User, run_id: UUID, action: str, deed: str, body: Json) -> None:
    """Ask, then write down who did it; no transaction is open while the trainer thinks."""
    with reading() as session:
        front = _front_to_steer(session, actor, run_id)
    _ask(front, "POST", deed, body)
    with transaction() as session:
        record(session, actor, action, str(run_id))


def _front_to_steer(session: Session, actor: User, run_id: UUID) -> Front:
    run = serving_run(session, actor, run_id)
    require(actor, Action.STEER_ENDPOINT, run.owner_id)
    return front_to(session, run)


def _ask(
    front: Front,
    method: str,
    deed: str,
    body: Json | None = None,
    patience: float = PATIENCE_SECONDS,
) -> Json:
    try:
        # In all: a server that says a byte now and then would keep us for ever.
        status, text = asyncio.run(asyncio.wait_for(_said(front, method, deed, body), patience))
        told = json.loads(text)
    except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
        raise Unreachable(N_("The model's server did not answer. Try again.")) from error
    if status != 200 or not isinstance(told, dict):
        raise Unreachable(N_("The model's server did not answer. Try again."))
    return told


async def _said(front: Front, method: str, deed: str, body: Json | None) -> tuple[int, bytes]:
    """Status and beginning of an answer."""
    headers = {"Authorization": f"Bearer {front.secret}", "Accept-Encoding": "identity"}
    address = f"{front.address}/bunsen/{deed}"
    text = bytearray()
    async with (
        connection() as client,
        client.stream(method, address, headers=headers, json=body) as answer,
    ):
        async for piece in answer.aiter_raw():
            text += piece
            if len(text) > LARGEST:
                break
    return answer.status_code, bytes(text)


def _count(told: Json, name: str) -> int:
    value = told.get(name)
    return value if type(value) is int and value > 0 else 0


def _closing(seconds: Any) -> datetime | None:
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        return None
    return clock.now() + timedelta(seconds=seconds)
