"""What a run leaves, as files: its log, artifacts and notebook."""

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import FileResponse, Response, StreamingResponse

from app.api.archive import zipped
from app.api.reply import Json
from app.api.shapes import artifact_json
from app.errors import NotFound
from app.i18n import N_
from app.models import Artifact, User
from app.runs import queries
from app.security import Actor, Reader
from app.settings import get_settings

router = APIRouter(prefix="/runs/{run_id}")

PIECE = 64 << 10
MOST_LINES = 100_000
# What people made is never shown inside our pages: it is downloaded, and runs nothing.
DOWNLOAD = {"Content-Security-Policy": "sandbox; default-src 'none'"}


@router.get("/log")
def show_log(
    session: Reader,
    actor: Actor,
    run_id: UUID,
    tail: Annotated[int | None, Query(ge=1, le=MOST_LINES)] = None,
) -> Response:
    """The whole log, or its last lines."""
    queries.get_run(session, actor, run_id)
    path = get_settings().run_dir(run_id) / "output.log"
    if not path.is_file():
        return Response("", media_type="text/plain", headers=DOWNLOAD)
    lines = _last_lines(path, tail) if tail else _pieces(path)
    return StreamingResponse(lines, media_type="text/plain", headers=DOWNLOAD)


def _pieces(path: Path) -> Iterator[bytes]:
    # As long as the file was when asked: a run may be writing to it.
    left = path.stat().st_size
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


def _last_lines(path: Path, count: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from deque(file, maxlen=count)


@router.get("/artifacts")
def list_artifacts(session: Reader, actor: Actor, run_id: UUID) -> Response:
    run = queries.get_run(session, actor, run_id)
    found = queries.artifacts(session, run_id)
    return Json({"artifacts": [artifact_json(run, each) for each in found]})


@router.get("/artifacts/{name}")
def download_artifact(session: Reader, actor: Actor, run_id: UUID, name: str) -> Response:
    """The artifact's folder as one zip; range requests resume a download."""
    artifact, folder = _find(session, actor, run_id, name)
    try:
        path = zipped(folder, artifact.sha256)
    except FileNotFoundError as error:  # the run was deleted while it was packed
        raise NotFound(N_("The files of this artifact are no longer kept.")) from error
    filename = f"{_plain(name)}-{str(run_id)[-8:]}.zip"
    return FileResponse(path, media_type="application/zip", filename=filename, headers={**DOWNLOAD})


@router.get("/artifacts/{name}/{path:path}")
def download_file(session: Reader, actor: Actor, run_id: UUID, name: str, path: str) -> Response:
    """One file of an artifact."""
    _artifact, folder = _find(session, actor, run_id, name)
    file = _inside(folder, path)
    return FileResponse(
        file,
        media_type="application/octet-stream",
        filename=_plain(file.name),
        headers={**DOWNLOAD},
    )


def _find(session: Session, actor: User, run_id: UUID, name: str) -> tuple[Artifact, Path]:
    queries.get_run(session, actor, run_id)
    artifact = session.get(Artifact, (run_id, name))
    if artifact is None:
        raise NotFound(N_("This run has no artifact of that name."))
    folder = get_settings().run_dir(run_id) / artifact.path
    # A link could lead to what is nobody's to download, such as the secret of an endpoint.
    if folder.is_symlink() or not folder.is_dir():
        raise NotFound(N_("The files of this artifact are no longer kept."))
    return artifact, folder


def _inside(folder: Path, path: str) -> Path:
    """The file of that path below the folder, wherever links may point."""
    root = folder.resolve()
    try:
        file = (root / path).resolve()
        found = file.is_relative_to(root) and file.is_file()
    except (OSError, ValueError):  # a name longer than the disk allows, or with a NUL
        found = False
    if not found:
        raise NotFound(N_("This artifact has no file of that name."))
    return file


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name) or "file"
