"""Getting in and out, and one's own account."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import clock, i18n
from app.accounts import passwords, people, sessions
from app.accounts.views import LoginPage, account_page, told_errors
from app.audit.record import record
from app.errors import AppError, InvalidInput, TooMany
from app.html import THEMES, render
from app.i18n import N_
from app.models import User
from app.security import (
    Actor,
    Reader,
    Writer,
    own_path,
    possible_user,
    remember,
    session_token,
    sign_in,
    sign_out,
)

router = APIRouter()
Text = Annotated[str, Form()]
Anybody = Annotated[User | None, Depends(possible_user)]
TOKEN_DAYS = {"30": 30, "90": 90, "365": 365}


@router.get("/enter/{token}")
def enter(request: Request, session: Writer, token: str, actor: Anybody) -> Response:
    owner = people.link_owner(session, token)
    response = RedirectResponse("/", 303)
    if owner is not None and actor is not None and owner.id == actor.id:
        return response
    sign_in(request, response, session, people.enter(session, token))
    return response


@router.get("/login", name="login")
def login_form(request: Request, actor: Anybody, next: str = "/") -> Response:
    if actor is not None:
        return RedirectResponse(own_path(next), 303)
    return render(request, "accounts/login.html", LoginPage(next=own_path(next)))


@router.post("/login")
def login(
    request: Request, session: Writer, name: Text = "", password: Text = "", next: Text = "/"
) -> Response:
    address = request.client.host if request.client else ""
    request.state.actor = None
    try:
        user = passwords.sign_in(session, name, password, address, clock.now())
    except (InvalidInput, TooMany) as error:
        page = LoginPage(name, own_path(next), told_errors(error))
        return render(request, "accounts/login.html", page, status=error.status_code)
    response = RedirectResponse(own_path(next), 303)
    sign_in(request, response, session, user)
    return response


@router.post("/logout")
@router.post("/account/session/end")
def logout(request: Request, session: Writer) -> Response:
    response = RedirectResponse("/login", 303)
    sign_out(request, response, session)
    return response


@router.get("/account")
def account(request: Request, session: Reader, actor: Actor) -> Response:
    return render(request, "accounts/account.html", account_page(request, session, actor))


@router.post("/account/password")
def change_password(
    request: Request, session: Writer, actor: Actor, current: Text = "", password: Text = ""
) -> Response:
    user = people.get_user(session, actor.id)
    try:
        passwords.change(user, current, password)
    except InvalidInput as error:
        page = account_page(request, session, actor, error=error)
        return render(request, "accounts/account.html", page, status=error.status_code)
    sessions.end_all(session, user.id, but=session_token(request) or "")
    record(session, actor, "password.change", user.name)
    session.flush()
    done = N_("Your password is set. Other browsers were signed out.")
    page = account_page(request, session, actor, done=done)
    return render(request, "accounts/account.html", page)


@router.post("/account/sessions/end")
def end_other_sessions(request: Request, session: Writer, actor: Actor) -> Response:
    sessions.end_all(session, actor.id, but=session_token(request) or "")
    return RedirectResponse("/account", 303)


@router.post("/account/tokens")
def create_token(request: Request, session: Writer, actor: Actor, days: Text = "90") -> Response:
    life = timedelta(days=TOKEN_DAYS.get(days, 90))
    token = people.create_api_token(session, actor, life)
    session.flush()
    page = account_page(request, session, actor, new_token=token)
    return render(request, "accounts/account.html", page, status=201)


@router.post("/account/tokens/{token_id}/deletion")
def delete_token(session: Writer, actor: Actor, token_id: UUID) -> Response:
    people.delete_api_token(session, actor, token_id)
    return RedirectResponse("/account", 303)


@router.post("/account/language")
def choose_language(
    session: Writer, actor: Anybody, language: Text = "", next: Text = "/"
) -> Response:
    if language not in i18n.LANGUAGES:
        raise AppError(N_("There is no such language here."))
    if actor is not None:
        people.get_user(session, actor.id).language = language
    response = RedirectResponse(own_path(next), 303)
    remember(response, "language", language)
    return response


@router.post("/account/theme")
def choose_theme(theme: Text = "", next: Text = "/") -> Response:
    if theme not in THEMES:
        raise AppError(N_("There is no such appearance here."))
    response = RedirectResponse(own_path(next), 303)
    remember(response, "theme", theme)
    return response
