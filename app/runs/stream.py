"""A run as server-sent events, for its page and for scripts.

Events, each with JSON data and an id that resumes after it: `state`, `stage`, `rewind`
(points past `step` are superseded), `table`, `samples`, `heatmap`, `plot`, `artifact`, `endpoint`
({"state"}), `points` ({"series": {key: {"steps", "values"}}}), `log` ({"offset", "skipped",
"text"}), `progress` ({"stage", "done", "total", "note"}), `queue` ({"position",
"expected_start", "reason", "boosted"}), and at last `end` ({"state", "cause"}).
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from app.database import reading
from app.errors import AppError, FieldError, InvalidInput, NotSignedIn, TooMany
from app.i18n import N_, gettext
from app.models import User
from app.runs import queries
from app.runs.feed import Cursor, Feed, Snapshot, encode, stopping, take_snapshot
from app.security import current_user, find_actor

router = APIRouter()

KEEP_ALIVE_SECONDS = 15.0
PERMISSION_SECONDS = 30.0
KEEP_ALIVE = b": still here\n\n"
# The last event has an id of its own: whoever was cut off just before it still gets it.
END = ".end"
CURSOR = re.compile(r"(\d{1,15})\.(\d{1,15})(?:\.(\d{1,15}))?(?:\.end)?")

# This process's pollers by run, each only while somebody listens.
feeds: dict[UUID, Feed] = {}
# How many streams each person holds open here.
listening = Counter[UUID]()
MOST_STREAMS = 50


@router.get("/runs/{run_id}/events")
@router.get("/api/v1/runs/{run_id}/events")
def run_events(
    request: Request,
    run_id: UUID,
    actor: Annotated[User, Depends(current_user)],
    after: str = "",
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    cursor = parse_cursor(last_event_id or after)
    if listening[actor.id] >= MOST_STREAMS:
        raise TooMany(N_("You listen to {count} runs already. Close some."), count=MOST_STREAMS)
    with reading() as session:
        queries.get_run(session, actor, run_id)
    snapshot = take_snapshot(run_id)
    cursor = cursor.within(snapshot.rows, snapshot.seq)
    if snapshot.state.is_over and last_event_id == f"{cursor}{END}":
        return Response(status_code=204)  # tells a browser's EventSource to stop coming back
    headers = {"X-Accel-Buffering": "no"}
    messages = _messages(request, actor.id, run_id, cursor, snapshot)
    return EventSourceResponse(messages, headers=headers)


def parse_cursor(text: str) -> Cursor:
    """The cursor of an id that we gave; without one everything is told from the beginning.

    A page that has rendered the log itself names rows and events only: its log goes on
    from where the file ends now.
    """
    if not text:
        return Cursor(0, 0, 0)
    found = CURSOR.fullmatch(text)
    if found is None:
        raise InvalidInput([FieldError("after", N_("This is not an id of one of our events."))])
    rows, seq, log_bytes = found.groups()
    return Cursor(int(rows), int(seq), int(log_bytes) if log_bytes else None)


async def _messages(
    request: Request, listener: UUID, run_id: UUID, cursor: Cursor, first: Snapshot
) -> AsyncIterator[bytes]:
    feed = feeds.setdefault(run_id, Feed(run_id, first))
    feed.enter()
    listening[listener] += 1
    try:
        async for message in _listen(request, feed, cursor):
            yield message
    finally:
        feed.leave()
        listening[listener] -= 1
        if feed.listeners == 0 and feeds.get(run_id) is feed:
            del feeds[run_id]


async def _listen(request: Request, feed: Feed, cursor: Cursor) -> AsyncIterator[bytes]:
    told: dict[str, Mapping[str, Any]] = {}
    checked_at = time.monotonic()
    while True:
        seen = feed.snapshot
        if seen.is_news_for(cursor):
            batch = await feed.after(cursor)
            cursor = batch.cursor
            for message in batch.messages:
                yield message
        for name, body in (("progress", _said(seen.progress)), ("queue", seen.queue)):
            if body and told.get(name) != body:
                told[name] = body
                yield encode(name, body, cursor)
        if seen.state.is_over and not seen.is_news_for(cursor):
            yield encode("end", {"state": seen.state, "cause": seen.cause}, f"{cursor}{END}")
            return
        if not await feed.changed(seen, KEEP_ALIVE_SECONDS):
            yield KEEP_ALIVE
        if stopping.is_set():
            return
        if time.monotonic() - checked_at > PERMISSION_SECONDS:
            checked_at = time.monotonic()
            if not await asyncio.to_thread(_may_still_see, request, feed.run_id):
                return


def _said(progress: Mapping[str, Any]) -> Mapping[str, Any]:
    """The note of a stage in the language of whoever listens."""
    return {**progress, "note": gettext(progress["note"])} if progress else progress


def _may_still_see(request: Request, run_id: UUID) -> bool:
    try:
        actor = find_actor(request)
        if actor is None:
            raise NotSignedIn(N_("Sign in to see this."))
        with reading() as session:
            queries.get_run(session, actor, run_id)
    except (AppError, SQLAlchemyError):
        return False
    return True
