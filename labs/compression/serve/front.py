"""The HTTP server of a serving run: OpenAI's interface, in a thread of the trainer.

The one place in `labs` that speaks HTTP. It listens on one address, for whoever knows its secret:
the web's proxy, which lets people in by their own keys.
"""

import asyncio
import hmac
import json
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from labs.compression.serve import replies
from labs.compression.serve.answering import Answerer, Answering
from labs.compression.serve.lease import Lease
from labs.compression.serve.protocol import Reader, Refused, Wanted, read_chat, read_completion
from labs.compression.serve.replies import Reply, Usage
from labs.contract import Json

LARGEST_BODY = 1 << 20
LONGEST_EXTENSION = 24 * 3600
START_SECONDS, STOP_SECONDS = 20, 2
RETRY_SECONDS = 5
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
CUT_OFF = Refused(
    503, "The endpoint closed before the answer was complete.", None, "endpoint_closed"
)


class Guard:
    """Lets in who knows the secret; the load test has one of its own, valid while it runs."""

    def __init__(self, app: ASGIApp, secret: str, test_secret: str, lease: Lease) -> None:
        self._app, self._lease = app, lease
        self._secret, self._test_secret = secret.encode(), test_secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer here what may not go further."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        given = headers.get(b"authorization", b"")
        of_test = hmac.compare_digest(given, b"Bearer " + self._test_secret)
        refused = None
        if not of_test and not hmac.compare_digest(given, b"Bearer " + self._secret):
            refused = Refused(401, "The key is missing or wrong.", None, "invalid_api_key")
        elif scope["path"].startswith("/v1/") and self._lease.state != "open" and not of_test:
            refused = _not_open(self._lease)
        scope["state"] = {"of_test": of_test}
        await (self._app if refused is None else _refusal(refused))(scope, receive, send)


class Front:
    """Listens from `start` to `close`."""

    def __init__(self, answerer: Answerer, lease: Lease, secret: str, test_secret: str) -> None:
        self._answerer, self._lease = answerer, lease
        self._created = int(time.time())
        app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._model),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._completion, methods=["POST"]),
                Route("/bunsen/status", self._status),
                Route("/bunsen/extension", self._extend, methods=["POST"]),
                Route("/bunsen/closing", self._close, methods=["POST"]),
            ],
            exception_handlers={Refused: _on_refused, HTTPException: _on_http},
        )
        self._app = Guard(app, secret, test_secret, lease)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str) -> str:
        """Listen on a free port; gives the address. Raises `OSError` where that cannot be."""
        config = uvicorn.Config(
            self._app,
            host=host,
            port=0,
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="front", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise OSError(f"cannot listen on {host}")
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        """Cut off what is under way, stop listening, wait for the thread."""
        self._answerer.cancel_all()
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()
        self._answerer.close()

    def _serve(self) -> None:
        # uvicorn ends a process that cannot listen; this one has more to say.
        with suppress(SystemExit):
            assert self._server is not None
            self._server.run()

    async def _models(self, request: Request) -> Response:
        return JSONResponse(replies.models(self._answerer.model, self._created))

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name != self._answerer.model:
            raise Refused(404, f"There is no model “{name}” here.", "model", "model_not_found")
        return JSONResponse(replies.model(name, self._created))

    async def _status(self, request: Request) -> Response:
        return JSONResponse(self._lease.status().json())

    async def _extend(self, request: Request) -> Response:
        seconds: Any = (await _body(request)).get("seconds")
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not 0 < seconds <= LONGEST_EXTENSION:
            raise Refused(400, "“seconds” must be a number from 0 to 86400.", "seconds")
        self._lease.extend(seconds)
        return JSONResponse(self._lease.status().json())

    async def _close(self, request: Request) -> Response:
        self._lease.close()
        return JSONResponse(self._lease.status().json())

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, read_chat, is_chat=True)

    async def _completion(self, request: Request) -> Response:
        return await self._answer(request, read_completion, is_chat=False)

    async def _answer(self, request: Request, read: Reader, is_chat: bool) -> Response:
        wanted = read(await _body(request))
        one = self._answerer.prepare(wanted)
        reply = Reply(self._answerer.model, is_chat)
        counted = _Counted(self._lease, one, counts=not request.state.of_test)
        leaving = asyncio.create_task(_until_gone(request, one.asked.cancelled.set))
        if wanted.stream:
            events = self._stream(one, reply, wanted, counted, leaving)
            return StreamingResponse(events, headers=STREAM_HEADERS, media_type="text/event-stream")
        try:
            with counted:
                told = [piece async for piece in self._answerer.pieces(one)]
        except Exception as error:
            raise _failed(error) from error
        finally:
            leaving.cancel()
        if not told or not told[-1][1]:
            raise CUT_OFF
        text = "".join(text for text, _ in told)
        return JSONResponse(reply.whole(text, told[-1][1], counted.usage))

    async def _stream(
        self,
        one: Answering,
        reply: Reply,
        wanted: Wanted,
        counted: "_Counted",
        leaving: "asyncio.Task[None]",
    ) -> AsyncIterator[str]:
        first, finish = True, ""
        try:
            with counted:
                async for text, finish in self._answerer.pieces(one):
                    yield reply.piece(text, finish, first, wanted.include_usage)
                    first = False
            if not finish:
                yield replies.event(CUT_OFF.json())
            elif wanted.include_usage:
                yield reply.usage(counted.usage)
        except Exception as error:
            yield replies.event(_failed(error).json())
        finally:
            leaving.cancel()
        yield replies.counted(counted.usage)
        yield replies.DONE


class _Counted:
    """Tells the lease of a request from its beginning to its end, whatever that is."""

    def __init__(self, lease: Lease, one: Answering, counts: bool) -> None:
        self._lease, self._one, self._counts = lease, one, counts

    @property
    def usage(self) -> Usage:
        return Usage(len(self._one.asked.prompt), self._one.tokens)

    def __enter__(self) -> None:
        if self._counts:
            self._lease.begin()

    def __exit__(self, *_: object) -> None:
        if self._counts:
            self._lease.end(self.usage.prompt_tokens, self.usage.completion_tokens)


async def _body(request: Request) -> Json:
    """A JSON object of limited size."""
    whole = b""
    async for part in request.stream():
        whole += part
        if len(whole) > LARGEST_BODY:
            raise Refused(413, "The request is larger than 1 MiB.", None, "request_too_large")
    try:
        body = json.loads(whole)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused(400, "The body must be a JSON object.")
    return body


async def _until_gone(request: Request, then: Callable[[], None]) -> None:
    """Wait until the client has hung up."""
    with suppress(ClientDisconnect):
        while (await request.receive())["type"] != "http.disconnect":
            continue
    then()


def _not_open(lease: Lease) -> Refused:
    if lease.state == "closed":
        return Refused(503, "The endpoint is closing.", None, "endpoint_closed")
    message = "The endpoint is being measured and opens in a moment."
    return Refused(503, message, None, "endpoint_not_open", retry_after=RETRY_SECONDS)


def _failed(error: Exception) -> Refused:
    """What a client hears of an error inside; the output of the run has the rest."""
    if isinstance(error, Refused):
        return error
    traceback.print_exception(error)
    return Refused(500, "The engine could not answer. The run's output says why.", None, "engine")


def _refusal(refused: Refused) -> Response:
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return JSONResponse(refused.json(), refused.status, headers)


async def _on_refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return _refusal(refused)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _refusal(Refused(error.status_code, f"{request.url.path}: {error.detail}."))
