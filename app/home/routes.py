"""The first page."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.home.views import home_page
from app.html import render, wants_block
from app.security import Actor, Reader

router = APIRouter()


@router.get("/")
def show(request: Request, session: Reader, actor: Actor, part: str = "work") -> Response:
    """The page; for htmx its block `work` or `classes`."""
    block = "classes" if part == "classes" else "work"
    page = home_page(session, actor)
    return render(request, "home/show.html", page, block if wants_block(request) else None)
