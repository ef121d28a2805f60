"""The web application: settings, middleware, routers, error handlers; nothing else."""

import importlib
import logging
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.middleware import Middleware

from app import problems
from app.assets import STATIC_DIR, VersionedFiles
from app.middleware import Answer, Ask, HideTokens

ROUTERS = (
    "app.home.routes",
    "app.catalogue.routes",
    "app.runs.routes",
    "app.runs.stream",
    "app.runs.queue",
    "app.compare.routes",
    "app.datasets.routes",
    "app.library.routes",
    "app.accounts.routes",
    "app.accounts.admin",
    "app.devices.routes",
    "app.audit.routes",
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
        middleware=[Middleware(Answer), Middleware(Ask)],
    )
    problems.register(app)
    for name in ROUTERS:
        if _exists(name):
            app.include_router(importlib.import_module(name).router)
    app.mount("/static", VersionedFiles(STATIC_DIR), name="static")
    logging.getLogger("uvicorn.access").addFilter(HideTokens())
    return app


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
