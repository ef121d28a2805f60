"""Base models as pages; an admin adds folders of this machine and models of the hub."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.errors import AppError
from app.html import render, wants_block
from app.library import hub, queries, register
from app.library.views import Sent, library_page, model_page
from app.security import Actor, Admin, Reader, Writer

router = APIRouter(prefix="/library")
Text = Annotated[str, Form()]
LONGEST_SEARCH = 100


@router.get("")
def show_library(request: Request, session: Reader, actor: Actor, q: str = "") -> Response:
    """The models; htmx asks for the lists alone while something is on its way."""
    block = "lists" if wants_block(request) else None
    search = q.replace("\0", "").strip()[:LONGEST_SEARCH]
    return render(request, "library/index.html", library_page(session, actor, search), block)


@router.post("")
def add_folder(
    request: Request, session: Writer, actor: Admin, name: Text = "", folder: Text = ""
) -> Response:
    sent = Sent(name=name.strip(), folder=folder.strip())
    try:
        model = register.register_model(session, actor, sent.name, sent.folder)
    except AppError as error:
        page = library_page(session, actor, sent=sent, error=error)
        return render(request, "library/index.html", page, status=error.status_code)
    return RedirectResponse(f"/library/{model.id}", 303)


@router.post("/hub")
def add_from_hub(
    request: Request,
    session: Writer,
    actor: Admin,
    hub_id: Text = "",
    revision: Text = "",
    hub_name: Text = "",
) -> Response:
    sent = Sent(hub_id=hub_id.strip(), revision=revision.strip(), hub_name=hub_name.strip())
    try:
        hub.ask_for(session, actor, sent.hub_id, sent.revision, sent.hub_name)
    except AppError as error:
        page = library_page(session, actor, sent=sent, error=error)
        return render(request, "library/index.html", page, status=error.status_code)
    return RedirectResponse("/library", 303)


@router.post("/hub/{model_id}/cancellation")
def cancel(session: Writer, actor: Admin, model_id: UUID) -> Response:
    hub.cancel(session, actor, model_id)
    return RedirectResponse("/library", 303)


@router.post("/hub/{model_id}/retry")
def retry(session: Writer, actor: Admin, model_id: UUID) -> Response:
    hub.try_again(session, actor, model_id)
    return RedirectResponse("/library", 303)


@router.get("/{model_id}")
def show_model(request: Request, session: Reader, actor: Actor, model_id: UUID) -> Response:
    model = queries.get_model(session, model_id)
    return render(request, "library/show.html", model_page(session, actor, model))


@router.post("/{model_id}/check")
def check(session: Writer, actor: Admin, model_id: UUID) -> Response:
    """Read the folder of a model anew."""
    register.check_again(session, actor, model_id)
    return RedirectResponse(f"/library/{model_id}", 303)


@router.post("/{model_id}/retirement")
def retire(session: Writer, actor: Admin, model_id: UUID) -> Response:
    register.set_retired(session, actor, model_id, retired=True)
    return RedirectResponse(f"/library/{model_id}", 303)


@router.post("/{model_id}/retirement/removal")
def bring_back(session: Writer, actor: Admin, model_id: UUID) -> Response:
    register.set_retired(session, actor, model_id, retired=False)
    return RedirectResponse(f"/library/{model_id}", 303)
