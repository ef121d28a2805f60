"""A waiting run takes the finished result of the same work over."""

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from app.runs import taking
from app.security import Actor, Writer

router = APIRouter()


@router.post("/runs/{run_id}/same-work")
def take_same_work(session: Writer, actor: Actor, run_id: UUID) -> Response:
    taking.take_offer(session, actor, run_id)
    return RedirectResponse(f"/runs/{run_id}", 303)
