"""Runs as pages: the list, one run live, cancelling, and letting a held one try again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query
from fastapi.responses import PlainTextResponse, RedirectResponse
from starlette.requests import Request
from starlette.responses import Response

from app.database import after_commit
from app.html import render, wants_block
from app.runs import lifecycle, queries
from app.runs.board import Filters, runs_page
from app.runs.choices import SAME
from app.runs.dispatch import fill_devices
from app.runs.report import report_of
from app.runs.resubmit import resubmit
from app.runs.views import CancelPage, run_page
from app.security import Actor, Reader, Writer, own_path

router = APIRouter()
BLOCKS = ("status", "costs", "results")
# Where a form asks to return to; the run's own page without it.
Next = Annotated[str, Form()]


@router.get("/runs")
def index(
    request: Request, session: Reader, actor: Actor, filters: Annotated[Filters, Query()]
) -> Response:
    block = "list" if wants_block(request) else None
    return render(request, "runs/index.html", runs_page(session, actor, filters), block)


@router.get("/runs/{run_id}")
def show(
    request: Request, session: Reader, actor: Actor, run_id: UUID, part: str = "status"
) -> Response:
    """The page; for htmx its block `status`, `costs` or `results`."""
    page = run_page(session, actor, queries.get_run(session, actor, run_id))
    block = part if part in BLOCKS else "status"
    return render(request, "runs/show.html", page, block if wants_block(request) else None)


@router.get("/runs/{run_id}/cancellation/new")
def confirm_cancel(request: Request, session: Reader, actor: Actor, run_id: UUID) -> Response:
    page = CancelPage(queries.get_run(session, actor, run_id))
    return render(request, "runs/cancel.html", page)


@router.post("/runs/{run_id}/cancellation")
def cancel(session: Writer, actor: Actor, run_id: UUID, next: Next = "") -> Response:
    lifecycle.request_cancel(session, run_id, actor)
    after_commit(session, fill_devices)
    return RedirectResponse(own_path(next or f"/runs/{run_id}"), 303)


@router.post("/runs/{run_id}/release")
def release(session: Writer, actor: Actor, run_id: UUID, next: Next = "") -> Response:
    lifecycle.release_held(session, run_id, actor)
    after_commit(session, fill_devices)
    return RedirectResponse(own_path(next or f"/runs/{run_id}"), 303)


@router.post("/runs/{run_id}/resubmission")
def resubmit_run(
    session: Writer,
    actor: Actor,
    run_id: UUID,
    variant: Annotated[str, Form()] = SAME,
    key: Annotated[str | None, Form(max_length=128)] = None,
) -> Response:
    """Queue an ended run again, in one of the shapes that its page offers."""
    found = resubmit(session, actor, run_id, variant, key)
    return RedirectResponse(f"/runs/{found.run.id}", 303)


@router.get("/runs/{run_id}/report")
def show_report(session: Reader, actor: Actor, run_id: UUID) -> Response:
    """What an instructor needs to know of a crash, as plain text."""
    return PlainTextResponse(report_of(queries.get_run(session, actor, run_id)))
