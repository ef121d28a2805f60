"""The endpoint of a serving run as JSON: how it stands, its keys, keeping it open, closing it."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.reply import Body, Json
from app.database import reading
from app.endpoints import control, keys
from app.endpoints.standing import serving_run
from app.endpoints.views import EndpointCard, base_url, card_of, with_figures
from app.i18n import gettext
from app.models import EndpointKey, Run, User
from app.security import Actor, Reader, Writer

router = APIRouter(prefix="/runs/{run_id}/endpoint")
Shape = dict[str, Any]


class NewKey(Body):
    """A key to make, with a name to know it by."""

    name: str = ""


class Extension(Body):
    """How much longer an endpoint stays open."""

    minutes: int = Field(default=control.EXTENSION_MINUTES, ge=1, le=60)


@router.get("")
def show_endpoint(request: Request, session: Reader, actor: Actor, run_id: UUID) -> Response:
    run = serving_run(session, actor, run_id)
    return Json(_endpoint(request, run, _card(session, actor, run)))


@router.get("/keys")
def list_keys(session: Reader, actor: Actor, run_id: UUID) -> Response:
    """Everybody's keys to the endpoint, without their texts, which nobody keeps."""
    run = serving_run(session, actor, run_id)
    return Json({"keys": [_key(each) for each in keys.of_run(session, actor, run)]})


@router.post("/keys", status_code=201)
def make_key(
    request: Request, session: Writer, actor: Actor, run_id: UUID, body: NewKey | None = None
) -> Response:
    """A key of the caller's own; `key` is given this one time."""
    run = serving_run(session, actor, run_id)
    made, text = keys.make(session, actor, run, body.name if body else "")
    return Json({"id": made.id, "key": text, "base_url": base_url(request, run)}, 201)


@router.post("/keys/{key_id}/revocation")
def revoke_key(session: Writer, actor: Actor, run_id: UUID, key_id: UUID) -> Response:
    run = serving_run(session, actor, run_id)
    return Json(_key(keys.revoke(session, actor, run, key_id)))


@router.post("/extension")
def extend_endpoint(
    request: Request, actor: Actor, run_id: UUID, body: Extension | None = None
) -> Response:
    control.extend(actor, run_id, body.minutes if body else control.EXTENSION_MINUTES)
    return _standing(request, actor, run_id)


@router.post("/closing", status_code=202)
def close_endpoint(request: Request, actor: Actor, run_id: UUID) -> Response:
    """Close it now; the run goes on to its end."""
    control.close(actor, run_id)
    return _standing(request, actor, run_id, 202)


def _standing(request: Request, actor: User, run_id: UUID, status: int = 200) -> Response:
    with reading() as session:
        run = serving_run(session, actor, run_id)
        return Json(_endpoint(request, run, _card(session, actor, run)), status)


def _card(session: Reader, actor: User, run: Run) -> EndpointCard:
    card = card_of(session, actor, run)
    assert card is not None, "serving_run gave a run that serves nothing"
    return with_figures(run, card)


def _endpoint(request: Request, run: Run, card: EndpointCard) -> Shape:
    own = f"/api/v1/runs/{run.id}/endpoint"
    figures = card.figures
    return {
        "run": run.id,
        "state": card.standing.state,
        "text": gettext(card.standing.sentence),
        "base_url": base_url(request, run),
        "model": card.standing.model,
        "engine": card.standing.engine,
        "closes_at": card.closes_at,
        "used": figures
        and {
            "active": figures.active,
            "requests": figures.requests,
            "prompt_tokens": figures.prompt_tokens,
            "completion_tokens": figures.completion_tokens,
        },
        "links": {
            "self": own,
            "page": f"/runs/{run.id}",
            **{part: f"{own}/{part}" for part in ("keys", "extension", "closing")},
        },
    }


def _key(key: EndpointKey) -> Shape:
    return {
        "id": key.id,
        "name": key.name,
        "owner": {"id": key.user.id, "name": key.user.name},
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "requests": key.requests,
        "prompt_tokens": key.prompt_tokens,
        "completion_tokens": key.completion_tokens,
    }
