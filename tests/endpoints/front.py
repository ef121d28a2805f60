"""A trainer's server that obeys the contract and says what it is told to; no model is behind it."""

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import anyio
from fastapi import FastAPI
from sqlalchemy import update
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.database import transaction
from app.models import Run, RunState
from app.runs.journal import append_events
from app.settings import get_settings
from tests.support.factories import make_attempt, make_run
from tests.support.site import Site, served

SECRET = "front-secret-0123456789"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
WORDS = ("Water", " is", " wet")
PATIENCE_SECONDS = 20


@dataclass
class FakeFront:
    """What the front was asked, and how it answers. `step` lets a stream say its next word."""

    model: str = "tuned"
    address: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    deeds: list[tuple[str, Any]] = field(default_factory=list)
    state: str = "open"
    waits: bool = False
    dies: bool = False
    answer: Response | None = None
    step: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    was_left: threading.Event = field(default_factory=threading.Event)
    was_asked: threading.Event = field(default_factory=threading.Event)

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/v1/models", self._models, methods=["GET"])
        for path in ("/v1/chat/completions", "/v1/completions"):
            app.add_api_route(path, self._complete, methods=["POST"])
        app.add_api_route("/bunsen/status", self._status, methods=["GET"])
        for deed in ("extension", "closing"):
            app.add_api_route(f"/bunsen/{deed}", self._deed, methods=["POST"])
        return app

    async def _models(self, request: Request) -> Response:
        self._note(request)
        return self.answer or JSONResponse({"object": "list", "data": [_model(self.model)]})

    async def _complete(self, request: Request) -> Response:
        self._note(request)
        self.asked.append(await request.json())
        self.was_asked.set()
        is_chat = "chat" in request.url.path
        if self.answer is not None:
            return self.answer
        if self.asked[-1].get("stream"):
            return StreamingResponse(self._words(is_chat), media_type="text/event-stream")
        if self.waits:
            await self._wait_for(request)
        return JSONResponse(_whole(is_chat))

    async def _words(self, is_chat: bool) -> AsyncIterator[str]:
        for word in WORDS:
            if self.waits:
                await self._wait()
            yield f"data: {json.dumps(_chunk(is_chat, word))}\n\n"
            if self.dies:
                raise ConnectionResetError("the trainer was killed")
        # Cut in two, as a network may.
        told = f": usage {json.dumps(USAGE)}\n\n"
        for part in (told[:12], told[12:]):
            yield part
        yield "data: [DONE]\n\n"

    async def _wait(self) -> None:
        try:
            while not self.step.acquire(blocking=False):
                await anyio.sleep(0.005)
        except BaseException:
            self.was_left.set()
            raise

    async def _wait_for(self, request: Request) -> None:
        while not await request.is_disconnected():
            await anyio.sleep(0.005)
        self.was_left.set()

    async def _status(self, request: Request) -> Response:
        self._note(request)
        counted = {name: USAGE[name] for name in ("prompt_tokens", "completion_tokens")}
        told = {"state": self.state, "active": 1, "requests": 2, **counted, "idle_seconds": 0.0}
        return JSONResponse({**told, "closes_in_seconds": 300.0})

    async def _deed(self, request: Request) -> Response:
        self._note(request)
        self.deeds.append((request.url.path.rpartition("/")[2], await request.json()))
        self.state = "closed" if self.deeds[-1][0] == "closing" else self.state
        return JSONResponse({"state": self.state})

    def _note(self, request: Request) -> None:
        self.headers.append(dict(request.headers))
        assert request.headers["authorization"] == f"Bearer {SECRET}"


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "bunsen"}


def _whole(is_chat: bool) -> dict[str, Any]:
    text = "".join(WORDS)
    said = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
    choice = {"index": 0, "finish_reason": "stop", **said}
    kind = "chat.completion" if is_chat else "text_completion"
    top = {"id": "1", "object": kind, "created": 0, "model": "tuned"}
    return {**top, "choices": [choice], "usage": USAGE}


def _chunk(is_chat: bool, word: str) -> dict[str, Any]:
    said = {"delta": {"content": word}} if is_chat else {"text": word}
    kind = "chat.completion.chunk" if is_chat else "text_completion"
    top = {"id": "1", "object": kind, "created": 0, "model": "tuned"}
    return {**top, "choices": [{"index": 0, "finish_reason": None, **said}]}


@contextmanager
def running_front() -> Iterator[FakeFront]:
    front = FakeFront()
    with served(front.app()) as address:
        front.address = address
        yield front


def serving(site: Site, owner: str = "sam", state: RunState = RunState.RUNNING) -> UUID:
    """A run that serves a model, without a server yet."""
    with transaction() as session:
        live = {"attempt": 1, "device": "cpu"} if state is RunState.RUNNING else {}
        run = make_run(session, site.people[owner], lab="serve", state=state, **live)
        if live:
            make_attempt(session, run)
        return run.id


def say(run_id: UUID, state: str, **told: Any) -> None:
    """What the trainer says of its endpoint."""
    with transaction() as session:
        append_events(session, run_id, 1, [("endpoint", {"state": state, **told})])


def open_at(run_id: UUID, front: FakeFront, **changed: Any) -> None:
    """Let a run's endpoint be open at this front."""
    folder = get_settings().run_dir(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    told = {"address": front.address, "secret": SECRET, "model": front.model, "attempt": 1}
    (folder / "endpoint.json").write_text(json.dumps({**told, "engine": "fake", **changed}))
    say(run_id, "open", engine="fake", model=front.model, closes_in_seconds=600)


def end(run_id: UUID) -> None:
    (get_settings().run_dir(run_id) / "endpoint.json").unlink(missing_ok=True)
    with transaction() as session:
        session.execute(update(Run).where(Run.id == run_id).values(state=RunState.SUCCEEDED))
