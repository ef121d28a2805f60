"""The help page."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.html import render
from app.security import Actor

router = APIRouter()


@router.get("/help")
def show(request: Request, actor: Actor) -> Response:
    return render(request, "help/show.html")
