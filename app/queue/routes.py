"""The queue as a page."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.html import render, wants_block
from app.queue.views import queue_page
from app.security import Actor, Reader

router = APIRouter()


@router.get("/queue")
def index(request: Request, session: Reader, actor: Actor) -> Response:
    block = "lists" if wants_block(request) else None
    return render(request, "queue/index.html", queue_page(session, actor), block)
