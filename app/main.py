"""The web application: settings, middleware, routers, error handlers; nothing else."""

import gc
import importlib
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware import Middleware

from app import problems
from app.assets import STATIC_DIR, VersionedFiles
from app.database import transaction
from app.library.register import sync_bundled
from app.middleware import Answer, Ask, HideTokens
from app.runs import taken_files
from app.runs.feed import stopping

ROUTERS = (
    "app.home.routes",
    "app.catalogue.routes",
    "app.runs.routes",
    "app.runs.same_work_routes",
    "app.runs.deletion_routes",
    "app.runs.stream",
    "app.endpoints.routes",
    "app.endpoints.proxy",
    "app.queue.routes",
    "app.classrooms.routes",
    "app.groups.routes",
    "app.sweeps.routes",
    "app.compare.routes",
    "app.scoreboards.routes",
    "app.help.routes",
    "app.datasets.routes",
    "app.datasets.piece_routes",
    "app.library.routes",
    "app.accounts.routes",
    "app.accounts.admin",
    "app.devices.routes",
    "app.audit.routes",
    "app.storage.routes",
    "app.ops",
    "app.api.routes",
)


def create_app() -> FastAPI:
    """The application that `bunsen web` serves."""
    app = FastAPI(
        title="Bunsen",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        middleware=[Middleware(Answer), Middleware(Ask)],
    )
    problems.register(app)
    for name in ROUTERS:
        app.include_router(importlib.import_module(name).router)
    app.mount("/static", VersionedFiles(STATIC_DIR), name="static")
    logging.getLogger("uvicorn.access").addFilter(HideTokens())
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    await run_sync(_register_bundled)
    _end_streams_at(signal.SIGTERM, signal.SIGINT)
    # What is here now stays; not walking it again and again spares open streams long pauses.
    gc.freeze()
    gc.enable()
    yield


def _end_streams_at(*signals: signal.Signals) -> None:
    """Without this the server waits for streams, which stay open as long as their runs."""
    if threading.current_thread() is not threading.main_thread():
        return
    for each in signals:
        before = signal.getsignal(each)
        if callable(before):
            signal.signal(each, partial(_end_streams, before))


def _end_streams(
    before: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None
) -> None:
    stopping.set()
    before(number, frame)


def _register_bundled() -> None:
    with transaction() as session:
        sync_bundled(session)
    taken_files.settle()
