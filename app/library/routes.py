"""Base models as pages; an admin adds folders of this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.accounts.views import told_errors
from app.errors import InvalidInput
from app.html import render
from app.library.register import register_model
from app.models import LanguageModel
from app.security import Actor, Admin, Reader, Writer

router = APIRouter(prefix="/library")
Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class LibraryPage:
    """All base models, and the form that adds one. Rendered by library/index.html."""

    models: Sequence[LanguageModel]
    name: str = ""
    folder: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


def list_models(session: Session) -> Sequence[LanguageModel]:
    """Every base model, those that come with Bunsen first."""
    order = (LanguageModel.bundled.desc(), LanguageModel.name)
    return session.scalars(select(LanguageModel).order_by(*order)).all()


@router.get("")
def show_library(request: Request, session: Reader, actor: Actor) -> Response:
    return render(request, "library/index.html", LibraryPage(list_models(session)))


@router.post("")
def add_model(
    request: Request, session: Writer, actor: Admin, name: Text = "", folder: Text = ""
) -> Response:
    name, folder = name.strip(), folder.strip()
    try:
        register_model(session, actor, name, folder)
    except InvalidInput as error:
        page = LibraryPage(list_models(session), name, folder, told_errors(error))
        return render(request, "library/index.html", page, status=error.status_code)
    return RedirectResponse("/library", 303)
