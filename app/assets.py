"""Static files under one version, so that browsers may keep them for ever.

The version is a hash over every file and stands in the path (`/static/<version>/css/base.css`):
a module that imports its neighbour by a relative path gets the same version of it.
"""

import hashlib
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.settings import ROOT

STATIC_DIR = ROOT / "static"
FOR_EVER = "public, max-age=31536000, immutable"


@cache
def version() -> str:
    """A short hash over names and content of all static files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in STATIC_DIR.rglob("*") if path.is_file()):
        digest.update(path.relative_to(STATIC_DIR).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def static_url(path: str) -> str:
    """The address of a static file; a missing one is a bug in the template."""
    assert (STATIC_DIR / path).is_file(), f"static/{path} does not exist"
    return f"/static/{version()}/{path}"


class VersionedFiles(StaticFiles):
    """Static files behind their version; an outdated one still answers, but is not kept."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)

    async def get_response(self, path: str, scope: Scope) -> Response:
        asked, _, file = path.partition("/")
        if not file:
            raise HTTPException(404)
        response = await super().get_response(file, scope)
        kept = FOR_EVER if asked == version() else "no-cache"
        response.headers["Cache-Control"] = kept
        return response
