"""Datasets as pages: the list with its upload form, one with its rows."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, File, Query, UploadFile
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.datasets.queries import get_dataset
from app.datasets.upload import add_dataset, delete_dataset, refused
from app.datasets.views import dataset_page, datasets_page
from app.errors import Forbidden, InvalidInput
from app.html import render
from app.i18n import N_
from app.models import Dataset, User
from app.security import Actor, Reader, Writer

router = APIRouter(prefix="/datasets")


@router.get("")
def show_datasets(request: Request, session: Reader, actor: Actor) -> Response:
    return render(request, "datasets/index.html", datasets_page(session, actor))


@router.post("")
def upload(
    request: Request,
    session: Writer,
    actor: Actor,
    file: Annotated[UploadFile | str, File()] = "",
) -> Response:
    try:
        dataset = add_upload(session, actor, file)
    except InvalidInput as error:
        page = datasets_page(session, actor, error)
        return render(request, "datasets/index.html", page, status=error.status_code)
    return RedirectResponse(f"/datasets/{dataset.id}", 303)


def add_upload(session: Session, actor: User, file: UploadFile | str) -> Dataset:
    """The dataset of a form's file; a form without one says so at its field."""
    if isinstance(file, str) or not file.filename:
        raise refused(N_("Choose a file."))
    return add_dataset(session, actor, file.filename, file.file)


@router.get("/{dataset_id}")
def show_dataset(
    request: Request,
    session: Reader,
    actor: Actor,
    dataset_id: UUID,
    line: Annotated[int | None, Query(ge=1)] = None,
    file: str | None = None,
) -> Response:
    """The dataset; with `line` (and `file`) also the row that something was said about."""
    dataset = get_dataset(session, actor, dataset_id)
    page = dataset_page(session, actor, dataset, line, file)
    return render(request, "datasets/show.html", page)


@router.post("/{dataset_id}/deletion")
def delete(session: Writer, actor: Actor, dataset_id: UUID) -> Response:
    dataset = get_dataset(session, actor, dataset_id)
    if dataset.owner_id != actor.id:
        raise Forbidden(N_("Only its owner can delete a dataset."))
    delete_dataset(session, dataset)
    return RedirectResponse("/datasets", 303)
