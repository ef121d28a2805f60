"""Labs as pages, and the form that starts a run."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from app.catalogue import sent, views
from app.catalogue.estimate import estimate_panel
from app.catalogue.form import UPLOAD, run_form
from app.datasets.upload import add_dataset
from app.errors import AppError, FieldError, InvalidInput, NotFound
from app.html import render
from app.i18n import N_
from app.models import Run, User
from app.runs.queries import get_run
from app.runs.submit import submit
from app.security import Actor, Reader, Writer
from labs import registry
from labs.contract import Lab, LabError

router = APIRouter()


async def sent_form(request: Request) -> AsyncIterator[FormData]:
    """The fields and files of a sent form; its temporary files go with the request."""
    async with request.form() as form:
        yield form


Sent = Annotated[FormData, Depends(sent_form)]


def find_lab(slug: str) -> Lab:
    """The lab in the address."""
    try:
        return registry.get(slug)
    except LabError as error:
        raise NotFound(error.message, **error.values) from error


FoundLab = Annotated[Lab, Depends(find_lab)]


@router.get("/labs")
def index(request: Request, session: Reader, actor: Actor) -> Response:
    return render(request, "labs/index.html", views.labs_page(session, actor))


@router.get("/labs/{slug}")
def show(request: Request, session: Reader, actor: Actor, lab: FoundLab) -> Response:
    return render(request, "labs/show.html", views.lab_page(session, actor, lab))


@router.get("/labs/{slug}/runs/new")
def new_run(
    request: Request, session: Reader, actor: Actor, lab: FoundLab, preset: str | None = None
) -> Response:
    """The empty form; `?from=` takes the values of an earlier run, `?preset=` those of a preset,
    `?base_model=`, `?dataset=` and `?parent=` choose what it starts from, `?set.NAME=` parameters."""
    earlier = request.query_params.get("from")
    entered = (
        sent.values_of(earlier_run(session, actor, earlier), lab)
        if earlier
        else sent.first_values(lab, preset)
    )
    entered = sent.opened(entered, request.query_params)
    return render(request, "labs/new.html", run_form(session, actor, lab, entered))


@router.post("/labs/{slug}/estimate")
def estimate(
    request: Request, session: Reader, actor: Actor, lab: FoundLab, form: Sent
) -> Response:
    panel = estimate_panel(session, actor, lab, sent.read(form))
    return render(request, "labs/_estimate.html", panel)


@router.post("/labs/{slug}/runs")
def create_run(
    request: Request, session: Writer, actor: Actor, lab: FoundLab, form: Sent
) -> Response:
    entered = sent.read(form)
    try:
        entered = _with_upload(session, actor, entered, form.get(UPLOAD))
        with session.begin_nested():
            run = submit(session, actor, sent.submission(lab, entered))
    except AppError as error:
        page = run_form(session, actor, lab, entered, error)
        return render(request, "labs/new.html", page, status=error.status_code)
    return RedirectResponse(f"/runs/{run.id}", 303)


def _with_upload(
    session: Session, actor: User, entered: sent.Entered, file: UploadFile | str | None
) -> sent.Entered:
    """The form with the dataset that came with it chosen; it stays also if the rest is wrong."""
    if not isinstance(file, UploadFile) or not file.filename:
        return entered
    try:
        dataset = add_dataset(session, actor, file.filename, file.file)
    except InvalidInput as error:
        told = [FieldError(UPLOAD, each.message, each.values) for each in error.errors]
        raise InvalidInput(told) from error
    return replace(entered, texts={**entered.texts, "dataset": str(dataset.id)})


def earlier_run(session: Session, actor: User, text: str) -> Run:
    """The run that `?from=` names."""
    try:
        return get_run(session, actor, UUID(text))
    except ValueError:
        raise NotFound(N_("There is no such run.")) from None
