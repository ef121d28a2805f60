"""Datasets as pages: the list with its upload, one with its rows, sharing, deleting, the file."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, File, Form, Query, UploadFile
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from app.api.files import DOWNLOAD
from app.datasets import shares
from app.datasets.queries import DatasetFilters, get_dataset
from app.datasets.rows import StoredRows
from app.datasets.show import Asked, DeletionPage, RowsBlock, dataset_page, rows_view
from app.datasets.upload import add_dataset, add_pasted, delete_dataset, refused, uses
from app.datasets.views import Pasted, datasets_page
from app.errors import FieldError, Forbidden, InvalidInput, NotFound
from app.html import render, wants_block
from app.i18n import N_
from app.models import Dataset, User
from app.security import Actor, Reader, Writer
from labs.splits import split_files

router = APIRouter(prefix="/datasets")
Split = Literal["", "train", "validation", "test"]
# No page and no line has a number beyond this.
LAST_PAGE = 10**9


@router.get("")
def show_datasets(
    request: Request,
    session: Reader,
    actor: Actor,
    filters: Annotated[DatasetFilters, Query()],
) -> Response:
    """The list; `?example=alpaca` puts rows of that format into the box for a few rows."""
    block = "list" if wants_block(request) else None
    pasted = Pasted(example=request.query_params.get("example", ""))
    page = datasets_page(session, actor, filters, pasted=pasted)
    return render(request, "datasets/index.html", page, block)


@router.post("")
def upload(
    request: Request,
    session: Writer,
    actor: Actor,
    file: Annotated[UploadFile | str, File()] = "",
    rows: Annotated[str | None, Form()] = None,
    name: Annotated[str, Form()] = "",
) -> Response:
    """A file, or rows that were pasted; what is refused stands in the form again."""
    try:
        if rows is None:
            dataset = add_upload(session, actor, file)
        else:
            dataset = add_pasted(session, actor, name, rows)
    except InvalidInput as error:
        pasted = Pasted(name, rows or "")
        page = datasets_page(session, actor, DatasetFilters(), error, pasted)
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
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
    split: Split = "",
    model: UUID | None = None,
    line: Annotated[int | None, Query(ge=1, le=LAST_PAGE)] = None,
    file: str | None = None,
) -> Response:
    """The dataset; with `line` (and `file`) also the row that something was said about."""
    dataset = get_dataset(session, actor, dataset_id)
    asked = Asked(page, split, model)
    if wants_block(request):
        block = RowsBlock(dataset, rows_view(session, dataset, asked))
        return render(request, "datasets/show.html", block, "rows")
    whole = dataset_page(session, actor, dataset, asked, line, file)
    return render(request, "datasets/show.html", whole)


@router.get("/{dataset_id}/file")
def download(session: Reader, actor: Actor, dataset_id: UUID, split: Split = "") -> Response:
    """The rows as JSON Lines; of a dataset with a file for each split, that of `split`."""
    dataset = get_dataset(session, actor, dataset_id)
    files = split_files(StoredRows(dataset).path)
    file = files.get("all") or files.get(split or "train")
    if file is None or not file.is_file():
        raise NotFound(N_("The file of this dataset is no longer here."))
    name = dataset.name if "all" in files else f"{dataset.name}-{file.stem}"
    return FileResponse(
        file, media_type="application/x-ndjson", filename=f"{name}.jsonl", headers={**DOWNLOAD}
    )


@router.post("/{dataset_id}/shares")
def share(
    session: Writer, actor: Actor, dataset_id: UUID, classroom: Annotated[str, Form()] = ""
) -> Response:
    dataset = get_dataset(session, actor, dataset_id)
    shares.share(session, actor, dataset, _class_id(classroom))
    return RedirectResponse(f"/datasets/{dataset.id}#shares", 303)


def _class_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput([FieldError("classroom", N_("Choose a class."))]) from None


@router.post("/{dataset_id}/shares/{classroom_id}/deletion")
def end_share(session: Writer, actor: Actor, dataset_id: UUID, classroom_id: UUID) -> Response:
    dataset = get_dataset(session, actor, dataset_id)
    shares.end_share(session, actor, dataset, classroom_id)
    still_seen = dataset.owner_id == actor.id
    return RedirectResponse(f"/datasets/{dataset.id}#shares" if still_seen else "/datasets", 303)


@router.get("/{dataset_id}/deletion/new")
def confirm_deletion(request: Request, session: Reader, actor: Actor, dataset_id: UUID) -> Response:
    dataset = _own(session, actor, dataset_id)
    return render(request, "datasets/delete.html", DeletionPage(dataset, uses(session, dataset)))


@router.post("/{dataset_id}/deletion")
def delete(session: Writer, actor: Actor, dataset_id: UUID) -> Response:
    delete_dataset(session, _own(session, actor, dataset_id))
    return RedirectResponse("/datasets", 303)


def _own(session: Session, actor: User, dataset_id: UUID) -> Dataset:
    dataset = get_dataset(session, actor, dataset_id)
    if dataset.owner_id != actor.id:
        raise Forbidden(N_("Only its owner can delete a dataset."))
    return dataset
