"""Devices as an admin sees them: how busy, and in or out of service."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.database import after_commit
from app.devices.queries import set_state
from app.devices.views import banner, devices_page
from app.html import render, wants_block
from app.models import DeviceState
from app.runs.dispatch import fill_devices
from app.security import Admin, Reader, Writer

router = APIRouter(prefix="/admin/devices")
Reason = Annotated[str, Form()]


@router.get("")
def show_devices(request: Request, session: Reader, actor: Admin) -> Response:
    block = "devices" if wants_block(request) else None
    return render(request, "admin/devices.html", devices_page(session, actor), block)


@router.get("/banner")
def show_banner(request: Request, session: Reader, actor: Admin) -> Response:
    """What every page of an admin says while a device is broken; empty while none is."""
    return render(request, "admin/devices/_banner.html", banner(session))


@router.post("/{name}/drain")
def drain(session: Writer, actor: Admin, name: str, reason: Reason = "") -> Response:
    set_state(session, actor, name, DeviceState.DRAINED, reason)
    return RedirectResponse("/admin/devices", 303)


@router.post("/{name}/pause")
def pause(session: Writer, actor: Admin, name: str, reason: Reason = "") -> Response:
    set_state(session, actor, name, DeviceState.PAUSED, reason)
    return RedirectResponse("/admin/devices", 303)


@router.post("/{name}/resume")
def resume(session: Writer, actor: Admin, name: str) -> Response:
    set_state(session, actor, name, DeviceState.ACTIVE)
    after_commit(session, fill_devices)
    return RedirectResponse("/admin/devices", 303)
