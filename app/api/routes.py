"""The JSON interface under /api/v1, and its own description."""

from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response

from app.api import (
    compare,
    endpoints,
    estimates,
    files,
    inputs,
    labs,
    models,
    notebooks,
    outcomes,
    queue,
    runs,
    scoreboards,
    sweeps,
)
from app.api.reply import Json
from app.runs import stream

VERSION = "1"
ABOUT = (
    "Make a token on the account page or with `./bunsen token create NAME` and send it as "
    "`Authorization: Bearer TOKEN`. Errors are application/problem+json."
)
bearer = HTTPBearer(auto_error=False, description=ABOUT)


def _described(token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
    """Says in the description that a token is expected; `current_user` is what checks it."""


router = APIRouter(prefix="/api/v1", dependencies=[Depends(_described)])
for part in (
    labs,
    estimates,
    runs,
    outcomes,
    files,
    notebooks,
    endpoints,
    compare,
    inputs,
    models,
    queue,
    scoreboards,
    sweeps,
):
    router.include_router(part.router)


@router.get("/openapi.json", include_in_schema=False)
def show_description() -> Response:
    return Json(description())


@cache
def description() -> dict[str, Any]:
    """OpenAPI of every call; built once, when somebody asks."""
    whole = get_openapi(
        title="Bunsen",
        version=VERSION,
        description=ABOUT,
        routes=[*router.routes, *stream.router.routes],
    )
    whole["paths"] = {
        path: each for path, each in whole["paths"].items() if path.startswith("/api")
    }
    return whole
