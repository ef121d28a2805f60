"""Classes as pages: the board, lab sessions, limits, people; and moving a run up."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import clock
from app.access import Action, can
from app.accounts.views import told_errors
from app.classrooms import forms, queries, roster, sessions
from app.classrooms.forms import LimitsForm, SessionForm
from app.classrooms.limits import set_limits
from app.classrooms.times import Span, read_span
from app.classrooms.views import ClassesPage, RosterPage, board_page, class_cards, student_page
from app.database import after_commit
from app.errors import InvalidInput
from app.forms import Values
from app.html import render, wants_block
from app.models import Classroom
from app.runs import lifecycle
from app.runs.dispatch import fill_devices
from app.security import Actor, Admin, Reader, Writer, own_path

router = APIRouter()
Text = Annotated[str, Form()]


@router.get("/classrooms")
def index(request: Request, session: Reader, actor: Actor) -> Response:
    """The person's classes; who has one and cannot make more goes straight to it."""
    cards = class_cards(session, actor, clock.now())
    if len(cards) == 1 and not can(actor, Action.MANAGE_PEOPLE):
        return RedirectResponse(f"/classrooms/{cards[0].classroom.id}", 303)
    return render(request, "classrooms/index.html", ClassesPage(cards))


@router.post("/classrooms")
def create(request: Request, session: Writer, actor: Admin, name: Text = "") -> Response:
    try:
        made = roster.create(session, actor, name)
    except InvalidInput as error:
        cards = class_cards(session, actor, clock.now())
        page = ClassesPage(cards, name, told_errors(error))
        return render(request, "classrooms/index.html", page, status=error.status_code)
    return RedirectResponse(f"/classrooms/{made.id}/people", 303)


@router.get("/classrooms/{classroom_id}/people")
def show_people(request: Request, session: Reader, actor: Admin, classroom_id: UUID) -> Response:
    classroom = queries.get_class(session, actor, classroom_id)
    page = RosterPage(classroom, queries.members(session, classroom.id))
    return render(request, "classrooms/people.html", page)


@router.post("/classrooms/{classroom_id}/people")
def add_people(
    request: Request, session: Writer, actor: Admin, classroom_id: UUID, names: Text = ""
) -> Response:
    classroom = queries.get_class(session, actor, classroom_id)
    try:
        roster.add_people(session, actor, classroom, names)
    except InvalidInput as error:
        members = queries.members(session, classroom.id)
        page = RosterPage(classroom, members, names, told_errors(error))
        return render(request, "classrooms/people.html", page, status=error.status_code)
    return RedirectResponse(f"/classrooms/{classroom.id}/people", 303)


@router.post("/classrooms/{classroom_id}/people/{user_id}/removal")
def remove_person(session: Writer, actor: Admin, classroom_id: UUID, user_id: UUID) -> Response:
    classroom = queries.get_class(session, actor, classroom_id)
    roster.remove_person(session, actor, classroom, user_id)
    after_commit(session, fill_devices)
    return RedirectResponse(f"/classrooms/{classroom.id}/people", 303)


@router.get("/classrooms/{classroom_id}")
def show(
    request: Request, session: Reader, actor: Actor, classroom_id: UUID, sort: str = ""
) -> Response:
    classroom = queries.get_class(session, actor, classroom_id)
    if not queries.steers(session, actor, classroom):
        return render(request, "classrooms/student.html", student_page(session, actor, classroom))
    block = "board" if wants_block(request) else None
    page = board_page(session, actor, classroom, sort)
    return render(request, "classrooms/show.html", page, block)


@router.get("/classrooms/{classroom_id}/sessions")
def list_sessions(request: Request, session: Reader, actor: Actor, classroom_id: UUID) -> Response:
    classroom = queries.get_steered(session, actor, classroom_id)
    page = forms.sessions_page(session, classroom)
    return render(request, "classrooms/sessions.html", page)


@router.post("/classrooms/{classroom_id}/sessions")
def schedule(
    request: Request,
    session: Writer,
    actor: Actor,
    classroom_id: UUID,
    form: Annotated[SessionForm, Form()],
) -> Response:
    classroom = queries.get_steered(session, actor, classroom_id)
    try:
        span = read_span(form.day, form.begin, form.until, form.offset)
        sessions.schedule(session, actor, classroom, span, forms.read_slice(form.slice))
    except InvalidInput as error:
        return _refused(request, session, classroom, error, form)
    return _changed(session, classroom)


@router.post("/classrooms/{classroom_id}/sessions/now")
def start_now(
    request: Request, session: Writer, actor: Actor, classroom_id: UUID, hours: Text = ""
) -> Response:
    classroom, now = queries.get_steered(session, actor, classroom_id), clock.now()
    try:
        length = timedelta(hours=forms.read_choice("hours", hours, forms.HOURS))
        time_slice = forms.read_slice("")
        sessions.schedule(session, actor, classroom, Span(now, now + length), time_slice)
    except InvalidInput as error:
        return _refused(request, session, classroom, error)
    return _changed(session, classroom)


@router.post("/classrooms/{classroom_id}/sessions/{session_id}/extension")
def extend(
    request: Request,
    session: Writer,
    actor: Actor,
    classroom_id: UUID,
    session_id: UUID,
    minutes: Text = "",
) -> Response:
    classroom = queries.get_steered(session, actor, classroom_id)
    try:
        by = timedelta(minutes=forms.read_choice("minutes", minutes, forms.EXTENSIONS))
        sessions.extend(session, actor, classroom, session_id, by)
    except InvalidInput as error:
        return _refused(request, session, classroom, error)
    return _changed(session, classroom)


@router.post("/classrooms/{classroom_id}/sessions/{session_id}/end")
def end(session: Writer, actor: Actor, classroom_id: UUID, session_id: UUID) -> Response:
    classroom = queries.get_steered(session, actor, classroom_id)
    sessions.end(session, actor, classroom, session_id)
    return _changed(session, classroom)


@router.get("/classrooms/{classroom_id}/limits")
def show_limits(
    request: Request, session: Reader, actor: Actor, classroom_id: UUID, saved: str = ""
) -> Response:
    classroom = queries.get_steered(session, actor, classroom_id)
    page = forms.limits_page(classroom, is_saved=bool(saved))
    return render(request, "classrooms/limits.html", page)


@router.post("/classrooms/{classroom_id}/limits")
def change_limits(
    request: Request,
    session: Writer,
    actor: Actor,
    classroom_id: UUID,
    form: Annotated[LimitsForm, Form()],
) -> Response:
    classroom = queries.get_steered(session, actor, classroom_id)
    try:
        set_limits(session, actor, classroom, form.limits, form.offers)
    except InvalidInput as error:
        values = Values(form.limits, error.errors)
        page = forms.limits_page(classroom, values, form.offers)
        return render(request, "classrooms/limits.html", page, status=error.status_code)
    after_commit(session, fill_devices)
    return RedirectResponse(f"/classrooms/{classroom.id}/limits?saved=1", 303)


@router.post("/runs/{run_id}/boost")
def boost(session: Writer, actor: Actor, run_id: UUID, next: Text = "") -> Response:
    return _boosted(session, actor, run_id, True, next)


@router.post("/runs/{run_id}/boost/removal")
def remove_boost(session: Writer, actor: Actor, run_id: UUID, next: Text = "") -> Response:
    return _boosted(session, actor, run_id, False, next)


def _boosted(
    session: Session, actor: Actor, run_id: UUID, boosted: bool, following: str
) -> Response:
    lifecycle.set_boost(session, run_id, actor, boosted)
    after_commit(session, fill_devices)
    return RedirectResponse(own_path(following or f"/runs/{run_id}"), 303)


def _changed(session: Session, classroom: Classroom) -> Response:
    after_commit(session, fill_devices)
    return RedirectResponse(f"/classrooms/{classroom.id}/sessions", 303)


def _refused(
    request: Request,
    session: Session,
    classroom: Classroom,
    error: InvalidInput,
    form: SessionForm | None = None,
) -> Response:
    texts = form.texts if form is not None else None
    page = forms.sessions_page(session, classroom, texts, error)
    return render(request, "classrooms/sessions.html", page, status=error.status_code)
