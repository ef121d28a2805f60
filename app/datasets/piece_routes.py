"""The addresses that the upload of the page sends a file to, piece by piece."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.datasets import pieces
from app.datasets.queries import DatasetFilters
from app.datasets.views import datasets_page
from app.errors import AppError, InvalidInput, Unavailable
from app.html import render
from app.security import Actor, Reader, Writer

router = APIRouter(prefix="/datasets/uploads")

Key = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


async def sent_bytes(request: Request) -> bytes:
    """The body as it is; the middleware has bounded it."""
    return await request.body()


@router.post("")
def begin(
    request: Request,
    session: Reader,
    actor: Actor,
    name: Annotated[str, Form(max_length=1000)],
    size: Annotated[int, Form(ge=0)],
    modified: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Begin an upload, or learn how much of it has arrived already."""
    try:
        key, received = pieces.begin(actor, name, size, modified)
    except InvalidInput as error:
        return _refused(request, session, actor, error)
    return JSONResponse({"key": key, "received": received})


@router.put("/{key}")
def put(
    request: Request,
    session: Reader,
    actor: Actor,
    key: Key,
    content: Annotated[bytes, Depends(sent_bytes)],
    offset: Annotated[int, Query(ge=0)],
) -> Response:
    """The next piece; 409 says where it begins if this is another."""
    try:
        fits, received = pieces.put(actor, key, offset, content)
    except InvalidInput as error:
        return _refused(request, session, actor, error)
    return JSONResponse({"received": received}, 200 if fits else 409)


@router.post("/{key}/completion")
def finish(
    request: Request,
    session: Writer,
    actor: Actor,
    key: Key,
    name: Annotated[str, Form(max_length=1000)],
    size: Annotated[int, Form(ge=0)],
) -> Response:
    """Check the file and keep it; what is wrong with it comes as the part of the page for that.

    409 says how much is here if that is not the whole file of `size` bytes.
    """
    try:
        received = pieces.received(actor, key)
        if received != size:
            return JSONResponse({"received": received}, 409)
        dataset = pieces.finish(session, actor, key, name)
    except (InvalidInput, Unavailable) as error:
        return _refused(request, session, actor, error)
    return Response(status_code=201, headers={"Location": f"/datasets/{dataset.id}"})


@router.post("/{key}/deletion")
def forget(actor: Actor, key: Key) -> Response:
    pieces.forget(actor, key)
    return Response(status_code=204)


def _refused(request: Request, session: Reader, actor: Actor, error: AppError) -> Response:
    page = datasets_page(session, actor, DatasetFilters(), error)
    return render(request, "datasets/index.html", page, "upload", error.status_code)
