"""Deleting a run: the page that asks once more, and the deed."""

from dataclasses import dataclass
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.requests import Request
from starlette.responses import Response

from app.access import Action, require
from app.errors import InUse
from app.html import render
from app.models import Run
from app.runs import queries
from app.runs.deletion import Deletion, delete_run, users_of
from app.security import Actor, Reader, Writer

router = APIRouter()


@dataclass(frozen=True, slots=True)
class DeletionPage:
    """Asks once more before a run is deleted. Rendered by runs/delete.html."""

    run: Run
    deletion: Deletion


@router.get("/runs/{run_id}/deletion/new")
def confirm_deletion(request: Request, session: Reader, actor: Actor, run_id: UUID) -> Response:
    run = queries.get_run(session, actor, run_id)
    require(actor, Action.DELETE_RUN, run.owner_id)
    asked = Deletion(run, users_of(session, actor, run_id))
    return render(request, "runs/delete.html", DeletionPage(run, asked))


@router.post("/runs/{run_id}/deletion")
def delete(request: Request, session: Writer, actor: Actor, run_id: UUID) -> Response:
    try:
        delete_run(session, actor, run_id)
    except InUse as error:
        run = queries.get_run(session, actor, run_id)
        page = DeletionPage(run, Deletion(run, users_of(session, actor, run_id)))
        return render(request, "runs/delete.html", page, status=error.status_code)
    return RedirectResponse("/runs", 303)
