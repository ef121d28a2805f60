"""The list of groups, and one address for a group of any kind."""

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.requests import Request
from starlette.responses import Response

from app.groups.queries import get_group
from app.groups.views import address_of, groups_page
from app.html import render
from app.security import Actor, Reader

router = APIRouter()


@router.get("/groups")
def index(request: Request, session: Reader, actor: Actor) -> Response:
    return render(request, "groups/index.html", groups_page(session, actor))


@router.get("/groups/{group_id}")
def show(session: Reader, actor: Actor, group_id: UUID) -> Response:
    return RedirectResponse(address_of(get_group(session, actor, group_id)), 303)
