"""Served models under `/serve/{run}/v1`, as OpenAI's clients ask for them.

A key is the only authority here: cookies count for nothing, so no other site's page can speak
to a model in a person's name, and nothing needs a token against forgery.
"""

from urllib.parse import quote
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.database import reading
from app.endpoints import keys
from app.endpoints.address import Front
from app.endpoints.passage import Asker, Passage
from app.endpoints.refusals import NoEndpoint, WrongKey
from app.endpoints.standing import front_to
from app.errors import NotFound
from app.i18n import N_

router = APIRouter(prefix="/serve/{run_id}/v1")
# In an address these are steps, not names.
NO_NAMES = frozenset({"", ".", ".."})
LONGEST_NAME = 255


@router.get("/models")
async def list_models(request: Request, run_id: UUID) -> Response:
    return await passed_on(request, run_id, "models")


@router.get("/models/{model:path}")
async def show_model(request: Request, run_id: UUID, model: str) -> Response:
    if model in NO_NAMES or len(model) > LONGEST_NAME:
        raise NotFound(N_("There is nothing at this address."))
    return await passed_on(request, run_id, f"models/{quote(model, safe='')}")


@router.post("/chat/completions")
async def chat(request: Request, run_id: UUID) -> Response:
    return await passed_on(request, run_id, "chat/completions")


@router.post("/completions")
async def complete(request: Request, run_id: UUID) -> Response:
    return await passed_on(request, run_id, "completions")


async def passed_on(request: Request, run_id: UUID, path: str) -> Response:
    """Pass a request on for whoever holds its key, and count what the answer took."""
    key_id, front = await run_sync(find_way, bearer_of(request), run_id)
    return Passage(front, Asker(key_id, is_key=True), request.method, path, await request.body())


def bearer_of(request: Request) -> str:
    """The key of a request; only ever in its Authorization header."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def find_way(text: str, run_id: UUID) -> tuple[UUID, Front]:
    """The key of that text and the server that it opens.

    Raises:
        WrongKey: For no key, one that was revoked, or whose person is shut out.
        NoEndpoint: For a run that the key is not for, or that its person may no longer see.
        NotOpen, NotYet: As `front_to`.
    """
    with reading() as session:
        key = keys.holder(session, text)
        if key is None:
            told = N_("Send a key to this endpoint as “Authorization: Bearer {prefix}…”.")
            raise WrongKey(told, prefix=keys.PREFIX)
        run = keys.admit(session, key, run_id)
        if run is None:
            raise NoEndpoint(N_("This key opens no endpoint at this address."))
        return key.id, front_to(session, run)
