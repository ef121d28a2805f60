"""A request passed on to a trainer's server, and its answer passed back as it comes.

Nothing of the caller's goes on but the body, and nothing of the trainer's comes back but the
body, its type and when to try again. The caller who hangs up takes the request away from the
trainer, also before the first byte.
"""

import json
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import httpx
from anyio import CancelScope, create_task_group
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.endpoints.address import Front
from app.endpoints.pace import pace
from app.endpoints.refusals import UNREACHABLE, Broken, Unreachable, error_body, openai_error
from app.endpoints.usage import StreamReader, Usage, tally, usage_of_body
from app.errors import AppError
from app.i18n import N_

log = logging.getLogger(__name__)

# The longest wait for the next bytes: a model on a busy CPU may think for minutes.
PATIENCE = httpx.Timeout(300.0, connect=5.0, write=30.0, pool=5.0)
# The largest answer that comes in one piece.
LARGEST_ANSWER = 8 << 20
EVENTS = "text/event-stream"
RETRY_AFTER = re.compile(r"[0-9]{1,6}")
# Trainers are spoken to in plain http: no certificates are read for each request.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
BROKE_OFF = Broken(N_("The model's server broke off in the middle of its answer."))
NO_ANSWER = Broken(N_("The model's server gave an answer that cannot be read."))


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a key, whose use is counted, or a person at the page of the run."""

    id: UUID
    is_key: bool


class Passage(Response):
    """The answer of a trainer's server, to one request within the asker's pace."""

    def __init__(
        self, front: Front, asker: Asker, method: str, path: str, content: bytes = b""
    ) -> None:
        super().__init__()
        self.front = front
        self.asker = asker
        self.method = method
        self.path = path
        self.content = content
        # What was used, once an answer has begun.
        self.usage: Usage | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with create_task_group() as group:
            group.start_soon(_until_gone, receive, group.cancel_scope)
            await self._pass(scope, receive, send)
            group.cancel_scope.cancel()
        if self.asker.is_key and self.usage is not None:
            await tally.add(self.asker.id, self.usage)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with pace.turn(self.asker.id):
                async with connection() as client:
                    answer = await client.send(self._request(client), stream=True)
                    try:
                        await self._pass_back(answer, send)
                    finally:
                        with CancelScope(shield=True):
                            await answer.aclose()
        except (httpx.HTTPError, AppError) as error:
            refusal = refusal_of(error)
            log.warning("%s of %s: %s", self.path, self.front, type(error).__name__)
            await openai_error(refusal, refusal.status_code)(scope, receive, send)

    def _request(self, client: httpx.AsyncClient) -> httpx.Request:
        headers = {
            "Authorization": f"Bearer {self.front.secret}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        address = f"{self.front.address}/v1/{self.path}"
        return client.build_request(self.method, address, headers=headers, content=self.content)

    async def _pass_back(self, answer: httpx.Response, send: Send) -> None:
        is_stream = answer.headers.get("content-type", "").startswith(EVENTS)
        if is_stream and answer.status_code == 200:
            await self._pass_stream(answer, send)
            return
        body = await whole(answer)
        status = _status(answer.status_code, body)
        if status < 400:
            self.usage = usage_of_body(body)
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        again = answer.headers.get("retry-after", "")
        if RETRY_AFTER.fullmatch(again):
            headers["retry-after"] = again
        await send(_start(status, headers))
        await send({"type": "http.response.body", "body": body})

    async def _pass_stream(self, answer: httpx.Response, send: Send) -> None:
        reader = StreamReader()
        # Without the last, a proxy before us keeps words back until it has a page of them.
        headers = {"content-type": f"{EVENTS}; charset=utf-8", "x-accel-buffering": "no"}
        await send(_start(200, headers))
        try:
            async for chunk in answer.aiter_raw():
                reader.read(chunk)
                await send(_piece(chunk))
        except httpx.HTTPError as error:
            log.warning("%s of %s broke off: %s", self.path, self.front, type(error).__name__)
            await send(_piece(b"\n\ndata: " + error_body(BROKE_OFF, 502) + b"\n\n"))
        finally:
            self.usage = reader.usage
        await send({"type": "http.response.body", "body": b""})


def connection() -> httpx.AsyncClient:
    """To a trainer: past no proxy, after no redirect, with nothing kept for the next request."""
    return httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=NO_TLS)


async def whole(answer: httpx.Response) -> bytes:
    """The body of an answer, up to what an answer may hold."""
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise Broken(N_("The model's server gave an answer that is too large."))
    return bytes(body)


def refusal_of(error: httpx.HTTPError | AppError) -> AppError:
    """What the person is told when the trainer's server cannot be spoken with."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(UNREACHABLE)
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(N_("The model's server did not answer in time."))
    return BROKE_OFF


def _status(status: int, body: bytes) -> int:
    """The status to answer with. What the trainer refuses us is not the caller's doing."""
    if status in (401, 403) or not (status == 200 or 400 <= status < 600):
        raise NO_ANSWER
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        raise NO_ANSWER from None
    return 502 if status == 500 else status


async def _until_gone(receive: Receive, scope: CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _start(status: int, headers: Mapping[str, str]) -> Message:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": encoded}


def _piece(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
