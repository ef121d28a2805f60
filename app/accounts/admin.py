"""The page on which an admin adds people, lets them in and shuts them out."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.accounts import people
from app.accounts.leaving import shut_out
from app.accounts.views import entry_address, people_page
from app.database import after_commit
from app.errors import InvalidInput
from app.html import render
from app.models import Role
from app.runs.dispatch import fill_devices
from app.security import Admin, Reader, Writer

router = APIRouter(prefix="/admin/people")
Text = Annotated[str, Form()]


@router.get("")
def show_people(request: Request, session: Reader, actor: Admin) -> Response:
    return render(request, "accounts/people.html", people_page(session))


@router.post("")
def add_person(
    request: Request, session: Writer, actor: Admin, name: Text = "", role: Text = Role.STUDENT
) -> Response:
    try:
        user = people.add_user(session, name, role, actor)
    except InvalidInput as error:
        page = people_page(session, name=name, role=role, error=error)
        return render(request, "accounts/people.html", page, status=error.status_code)
    link = entry_address(request, people.entry_link(session, user, actor))
    page = people_page(session, link=link, link_for=user.name)
    return render(request, "accounts/people.html", page, status=201)


@router.post("/{user_id}/link")
def new_link(request: Request, session: Writer, actor: Admin, user_id: UUID) -> Response:
    user = people.get_user(session, user_id)
    link = entry_address(request, people.entry_link(session, user, actor))
    page = people_page(session, link=link, link_for=user.name)
    return render(request, "accounts/people.html", page, status=201)


@router.post("/{user_id}/disable")
def disable(request: Request, session: Writer, actor: Admin, user_id: UUID) -> Response:
    try:
        shut_out(session, people.get_user(session, user_id), actor)
    except InvalidInput as error:
        page = people_page(session, error=error)
        return render(request, "accounts/people.html", page, status=error.status_code)
    after_commit(session, fill_devices)
    return RedirectResponse("/admin/people", 303)


@router.post("/{user_id}/enable")
def enable(session: Writer, actor: Admin, user_id: UUID) -> Response:
    people.enable(session, people.get_user(session, user_id), actor)
    return RedirectResponse("/admin/people", 303)
