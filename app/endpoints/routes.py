"""The endpoint of a run on pages: how it stands, keys, trying it, keeping it open, closing it."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.database import reading
from app.endpoints import control, keys
from app.endpoints.address import Front
from app.endpoints.passage import Asker, Passage
from app.endpoints.standing import front_to, serving_run
from app.endpoints.trial import read_trial
from app.endpoints.views import EndpointCard, EndpointPage, card_of, with_error, with_figures
from app.errors import AppError
from app.html import render, wants_block
from app.models import Run, User
from app.security import Actor, Reader, Writer

router = APIRouter(prefix="/runs/{run_id}/endpoint")
PARTS = {part: f"endpoints/_{part}.html" for part in ("status", "keys", "snippets")}


@router.get("")
def show(
    request: Request, session: Reader, actor: Actor, run_id: UUID, part: str = "status"
) -> Response:
    """The card as a page; for htmx its part `status`, `keys` or `snippets`."""
    run = serving_run(session, actor, run_id)
    return _shown(request, run, with_figures(run, _card(session, actor, run)), part)


@router.post("/keys")
def make_key(
    request: Request,
    session: Writer,
    actor: Actor,
    run_id: UUID,
    name: Annotated[str, Form()] = "",
) -> Response:
    run = serving_run(session, actor, run_id)
    try:
        _, text = keys.make(session, actor, run, name)
    except AppError as error:
        card = with_error(_card(session, actor, run), error, name)
        return _shown(request, run, card, "keys", 422)
    card = replace(_card(session, actor, run), new_key=text)
    return _shown(request, run, card, "keys", 201)


@router.post("/keys/{key_id}/revocation")
def revoke_key(
    request: Request, session: Writer, actor: Actor, run_id: UUID, key_id: UUID
) -> Response:
    run = serving_run(session, actor, run_id)
    keys.revoke(session, actor, run, key_id)
    session.flush()
    if wants_block(request):
        return _shown(request, run, _card(session, actor, run), "keys")
    return RedirectResponse(f"/runs/{run_id}#endpoint", 303)


@router.post("/extension")
def extend(request: Request, actor: Actor, run_id: UUID) -> Response:
    """Keep it open for ten minutes more."""
    control.extend(actor, run_id)
    return _steered(request, actor, run_id)


@router.post("/closing")
def close(request: Request, actor: Actor, run_id: UUID) -> Response:
    control.close(actor, run_id)
    return _steered(request, actor, run_id)


@router.post("/trial")
async def try_it(request: Request, actor: Actor, run_id: UUID) -> Response:
    """Ask the model from the page of its run; the answer streams as a client's would."""
    front = await run_sync(_front, actor, run_id)
    async with request.form() as form:
        trial = read_trial(form)
    asker = Asker(actor.id, is_key=False)
    return Passage(front, asker, "POST", trial.path, trial.body(front.model))


def _front(actor: User, run_id: UUID) -> Front:
    with reading() as session:
        return front_to(session, serving_run(session, actor, run_id))


def _card(session: Session, actor: User, run: Run) -> EndpointCard:
    card = card_of(session, actor, run)
    assert card is not None, "serving_run gave a run that serves nothing"
    return card


def _steered(request: Request, actor: User, run_id: UUID) -> Response:
    if not wants_block(request):
        return RedirectResponse(f"/runs/{run_id}#endpoint", 303)
    with reading() as session:
        run = serving_run(session, actor, run_id)
        card = with_figures(run, _card(session, actor, run))
    return _shown(request, run, card, "status")


def _shown(
    request: Request, run: Run, card: EndpointCard, part: str, status: int = 200
) -> Response:
    template = PARTS.get(part, PARTS["status"]) if wants_block(request) else "endpoints/show.html"
    return render(request, template, EndpointPage(run, card), status=status)
