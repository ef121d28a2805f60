"""What every request passes: language, size limit, origin check, headers of the answer."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import i18n
from app.endpoints import refusals
from app.errors import AppError, Forbidden, TooLarge
from app.headers import HEADERS
from app.i18n import N_
from app.problems import API, respond
from app.settings import get_settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FORM_BYTES = 1 << 20
UPLOADS = re.compile(r"(/api/v1)?/datasets|/labs/[^/]+/runs")


class Answer:
    """Adds the security headers that a route has not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if get_settings().secure_cookies:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class Ask:
    """Chooses the language and refuses what no route should see."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        i18n.use_language(
            i18n.choose(
                request.cookies.get("language"), None, request.headers.get("accept-language", "")
            )
        )
        limit = body_limit(scope["path"])
        refusal = _refusal(request, limit)
        if refusal is not None:
            answer = await run_in_threadpool(respond, request, refusal)
            await answer(scope, receive, send)
            return
        await self.app(scope, _limited(receive, limit), send)


def body_limit(path: str) -> int:
    """The largest body an address takes, in bytes."""
    return FORM_BYTES + (get_settings().max_upload_bytes if UPLOADS.fullmatch(path) else 0)


def _refusal(request: Request, limit: int) -> AppError | None:
    stated = request.headers.get("content-length", "0")
    if (
        not stated.isdecimal()
        or "\0" in request.url.path
        or b"%00" in request.scope["query_string"]
    ):
        return AppError(N_("The request could not be understood."))
    if int(stated) > limit:
        return TooLarge(N_("What you sent is larger than this address takes."))
    if request.method not in SAFE_METHODS and not is_own_origin(request):
        return Forbidden(
            N_("This form was not sent from a page of this site. Reload the page and try again.")
        )
    return None


def is_own_origin(request: Request) -> bool:
    """Whether an unsafe request comes from our own pages, or carries no ambient login.

    Browsers send Sec-Fetch-Site to trustworthy addresses only; on plain HTTP in a lab the
    Origin header decides. A bearer token is never sent by itself, so it needs no check.
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return True
    if request.url.path.startswith(refusals.PREFIX):
        return True  # where a cookie opens nothing
    if request.url.path.startswith(API) and not request.cookies:
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    own = {request.headers.get("host", ""), urlsplit(get_settings().public_url).netloc}
    return bool(origin) and origin in own


def _limited(receive: Receive, limit: int) -> Receive:
    total = 0

    async def receive_within_limit() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise HTTPException(413)
        return message

    return receive_within_limit


class HideTokens(logging.Filter):
    """Keeps one-time tokens out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_hidden, record.args))
        elif isinstance(record.args, MutableMapping):
            record.args = {key: _hidden(value) for key, value in record.args.items()}
        return True


def _hidden(value: Any) -> Any:
    return re.sub(r"/enter/[^\s/?]+", "/enter/***", value) if isinstance(value, str) else value
