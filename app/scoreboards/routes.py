"""Scoreboards as pages: the form, one scoreboard live, the download, cancelling."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse
from starlette.requests import Request
from starlette.responses import Response

from app.catalogue.routes import Sent
from app.errors import AppError
from app.groups.cancel import cancel_group
from app.groups.queries import get_group
from app.html import render, wants_block
from app.models import GroupKind
from app.scoreboards import views
from app.scoreboards.choice import Choice
from app.scoreboards.download import as_csv
from app.scoreboards.entered import read_form, wanted_of
from app.scoreboards.form import scoreboard_form
from app.scoreboards.start import start_scoreboard
from app.security import Actor, Reader, Writer

router = APIRouter()


@router.get("/scoreboards")
def index(actor: Actor) -> Response:
    """Scoreboards stand in the list of all runs that were started together."""
    return RedirectResponse("/groups", 303)


@router.get("/scoreboards/new")
def new(request: Request, session: Reader, actor: Actor) -> Response:
    """The form with the values of the address; for htmx what depends on them."""
    page = scoreboard_form(session, actor, read_form(request.query_params))
    block = "choice" if wants_block(request) else None
    return render(request, "scoreboards/new.html", page, block)


@router.post("/scoreboards")
def create(request: Request, session: Writer, actor: Actor, form: Sent) -> Response:
    entered = read_form(form)
    try:
        with session.begin_nested():
            group = start_scoreboard(session, actor, wanted_of(entered), entered.key)
    except AppError as error:
        page = scoreboard_form(session, actor, entered, error)
        return render(request, "scoreboards/new.html", page, status=error.status_code)
    return RedirectResponse(f"/scoreboards/{group.id}", 303)


@router.get("/scoreboards/{group_id}")
def show(
    request: Request,
    session: Reader,
    actor: Actor,
    group_id: UUID,
    choice: Annotated[Choice, Query()],
) -> Response:
    group = get_group(session, actor, group_id, GroupKind.SCOREBOARD)
    page = views.scoreboard_page(session, actor, group, choice)
    block = "board" if wants_block(request) else None
    return render(request, "scoreboards/show.html", page, block)


@router.get("/scoreboards/{group_id}/table.csv")
def download(session: Reader, actor: Actor, group_id: UUID) -> Response:
    group = get_group(session, actor, group_id, GroupKind.SCOREBOARD)
    name = f'attachment; filename="scoreboard-{str(group.id)[:8]}.csv"'
    text = as_csv(views.measured_of(session, actor, group))
    return Response(text, media_type="text/csv", headers={"Content-Disposition": name})


@router.post("/scoreboards/{group_id}/cancellation")
def cancel(session: Writer, actor: Actor, group_id: UUID) -> Response:
    cancel_group(session, actor, group_id, GroupKind.SCOREBOARD)
    return RedirectResponse(f"/scoreboards/{group_id}", 303)
