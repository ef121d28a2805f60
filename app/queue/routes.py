"""The queue as a page, and how the turn of one run was worked out."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.html import render, wants_block
from app.queue.queries import parse_cursor
from app.queue.turn import turn_page
from app.queue.views import queue_page
from app.runs.queries import get_run
from app.security import Actor, Reader

router = APIRouter()


@router.get("/queue")
def index(request: Request, session: Reader, actor: Actor, cursor: str | None = None) -> Response:
    page = queue_page(session, actor, parse_cursor(cursor))
    return render(request, "queue/index.html", page, "lists" if wants_block(request) else None)


@router.get("/runs/{run_id}/turn")
def show_turn(request: Request, session: Reader, actor: Actor, run_id: UUID) -> Response:
    page = turn_page(session, actor, get_run(session, actor, run_id))
    return render(request, "queue/turn.html", page, "terms" if wants_block(request) else None)
