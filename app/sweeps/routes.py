"""Sweeps as pages: the form, one sweep live, cancelling it as a whole."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from app.catalogue import sent
from app.catalogue.routes import FoundLab, Sent, earlier_run
from app.errors import AppError
from app.forms import COMPLETE
from app.groups.cancel import cancel_group
from app.groups.progress import progress_of
from app.groups.queries import get_group, group_runs
from app.html import render, wants_block
from app.models import GroupKind, RunGroup
from app.security import Actor, Reader, Writer
from app.sweeps.form import asked_for, sweep_form
from app.sweeps.preview import preview_of
from app.sweeps.start import start_sweep
from app.sweeps.views import CancelSweepPage, sweep_page

router = APIRouter()
BLOCKS = ("status", "curves")


def find_sweep(session: Reader, actor: Actor, sweep_id: UUID) -> RunGroup:
    """The sweep in the address."""
    return get_group(session, actor, sweep_id, GroupKind.SWEEP)


FoundSweep = Annotated[RunGroup, Depends(find_sweep)]


@router.get("/labs/{slug}/sweeps/new")
def new_sweep(
    request: Request, session: Reader, actor: Actor, lab: FoundLab, preset: str | None = None
) -> Response:
    """The form; `?from=` takes the values of a run, a form of one run may be sent here as it is."""
    asked = request.query_params
    if earlier := asked.get("from"):
        entered = sent.values_of(earlier_run(session, actor, earlier), lab)
        entered = replace(entered, texts={**entered.texts, "name": ""})
    elif COMPLETE in asked:
        fields: list[tuple[str, str | UploadFile]] = [*asked.multi_items()]
        entered = replace(sent.read(FormData(fields)), key=sent.Entered().key)
    else:
        entered = sent.first_values(lab, preset)
    return render(request, "sweeps/new.html", sweep_form(session, actor, lab, entered))


@router.post("/labs/{slug}/sweeps/preview")
def preview(request: Request, session: Reader, actor: Actor, lab: FoundLab, form: Sent) -> Response:
    """What would start; for who has no JavaScript as the whole form again."""
    entered = sent.read(form)
    found = preview_of(session, actor, lab, entered)
    if wants_block(request):
        return render(request, "sweeps/_preview.html", found)
    page = replace(sweep_form(session, actor, lab, entered), preview=found)
    return render(request, "sweeps/new.html", page)


@router.post("/labs/{slug}/sweeps")
def create_sweep(
    request: Request, session: Writer, actor: Actor, lab: FoundLab, form: Sent
) -> Response:
    entered = sent.read(form)
    try:
        group = start_sweep(session, actor, asked_for(lab, entered), entered.key)
    except AppError as error:
        page = sweep_form(session, actor, lab, entered, error)
        return render(request, "sweeps/new.html", page, status=error.status_code)
    return RedirectResponse(f"/sweeps/{group.id}", 303)


@router.get("/sweeps/{sweep_id}")
def show(
    request: Request,
    session: Reader,
    actor: Actor,
    group: FoundSweep,
    metric: str = "",
    sort: str = "",
    part: str = "status",
) -> Response:
    """The page; for htmx its block `status` or `curves`."""
    page = sweep_page(session, actor, group, metric, sort)
    block = part if part in BLOCKS else "status"
    return render(request, "sweeps/show.html", page, block if wants_block(request) else None)


@router.get("/sweeps/{sweep_id}/cancellation/new")
def confirm_cancel(request: Request, session: Reader, actor: Actor, group: FoundSweep) -> Response:
    page = CancelSweepPage(group, progress_of(group_runs(session, actor, group)))
    return render(request, "sweeps/cancel.html", page)


@router.post("/sweeps/{sweep_id}/cancellation")
def cancel(session: Writer, actor: Actor, sweep_id: UUID) -> Response:
    cancel_group(session, actor, sweep_id, GroupKind.SWEEP)
    return RedirectResponse(f"/sweeps/{sweep_id}", 303)
