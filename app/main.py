"""The web application: settings, middleware, routers, error handlers; nothing else."""

import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware import Middleware

from app import problems
from app.assets import STATIC_DIR, VersionedFiles
from app.database import transaction
from app.library.register import sync_bundled
from app.middleware import Answer, Ask, HideTokens

ROUTERS = (
    "app.home.routes",
    "app.catalogue.routes",
    "app.runs.routes",
    "app.runs.stream",
    "app.queue.routes",
    "app.compare.routes",
    "app.help.routes",
    "app.datasets.routes",
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
    yield


def _register_bundled() -> None:
    with transaction() as session:
        sync_bundled(session)
