"""The queue as a page, and how the turn of one run was worked out."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.html import render, wants_block
from app.queue.queries import parse_cursor
from app.queue.views import queue_page
from app.security import Actor, Reader

router = APIRouter()


@router.get("/queue")
def index(request: Request, session: Reader, actor: Actor, cursor: str | None = None) -> Response:
    page = queue_page(session, actor, parse_cursor(cursor))
    return render(request, "queue/index.html", page, "lists" if wants_block(request) else None)
