"""How an error is answered: a page for a person, `application/problem+json` for the API."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from app import errors, invalid
from app.database import get_engine
from app.endpoints.refusals import openai_error, speaks_openai
from app.errors import AppError, FieldError, InvalidInput, NotFound, NotSignedIn
from app.headers import HEADERS
from app.html import render, wants_block
from app.i18n import N_, gettext, sentence
from app.security import find_actor

log = logging.getLogger(__name__)

API = "/api/"
STATUS_SENTENCES: dict[int, tuple[type[AppError], str]] = {
    400: (AppError, N_("The request could not be understood.")),
    404: (NotFound, N_("There is nothing at this address.")),
    405: (AppError, N_("This address does not take this kind of request.")),
    413: (errors.TooLarge, N_("What you sent is larger than this address takes.")),
    422: (InvalidInput, N_("The request could not be understood.")),
}


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Something went wrong. Rendered by errors/error.html."""

    status: int
    title: str
    detail: str
    errors: Sequence[FieldError]


def register(app: FastAPI) -> None:
    """Let the application answer every kind of error."""
    for kind, handler in (
        (AppError, _on_app_error),
        (HTTPException, _on_http),
        (RequestValidationError, _on_validation),
        (OperationalError, _on_database),
        (ProgrammingError, _on_database),
        (ClientDisconnect, _on_gone),
        (Exception, _on_bug),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]


def respond(request: Request, error: AppError, status: int | None = None) -> Response:
    """The response that tells this error to whoever asked."""
    status = status or error.status_code
    if is_api(request):
        return _problem(error, status)
    if speaks_openai(request):
        return openai_error(error, status)
    if isinstance(error, NotSignedIn) and request.method in ("GET", "HEAD"):
        return _to_login(request)
    return _page(request, error, status)


def is_api(request: Request) -> bool:
    return request.url.path.startswith(API)


def field_errors(error: AppError) -> Sequence[FieldError]:
    return error.errors if isinstance(error, InvalidInput) else ()


def _problem(error: AppError, status: int) -> Response:
    slug = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    body = {
        "type": f"urn:bunsen:problem:{slug}",
        "title": gettext(error.title),
        "status": status,
        "detail": sentence(error.message, error.values),
    }
    listed = [
        {"field": each.field, "message": sentence(each.message, each.values)}
        for each in field_errors(error)
    ]
    if listed:
        body["errors"] = listed
    if isinstance(error, InvalidInput) and error.alternatives:
        body["alternatives"] = [
            {**each, "title": gettext(each["title"])} for each in error.alternatives
        ]
    if isinstance(error, errors.InUse):
        body["used_by"] = [{"id": str(key), "name": name} for key, name in error.used_by]
        body["others"] = error.others
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    # Escaped to ASCII: a value quoted from the request may hold a lone surrogate.
    content = json.dumps(body, ensure_ascii=True)
    return Response(content, status, headers, media_type="application/problem+json")


def _to_login(request: Request) -> Response:
    if wants_block(request):
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(here)}" if here != "/" else "/login", 303)


def _page(request: Request, error: AppError, status: int) -> Response:
    _recognise(request)
    page = ErrorPage(
        status=status,
        title=gettext(error.title),
        detail=sentence(error.message, error.values),
        errors=field_errors(error),
    )
    block = "problem" if wants_block(request) else None
    response = render(request, "errors/error.html", page, block, status)
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


def _recognise(request: Request) -> None:
    """An address without a route asked nobody who it is for; its page has a menu all the same."""
    if hasattr(request.state, "actor"):
        return
    try:
        request.state.actor = find_actor(request)
    except SQLAlchemyError as error:
        log.warning("nobody could be recognised: %s", error)
        request.state.actor = None


def _on_app_error(request: Request, error: AppError) -> Response:
    return respond(request, error)


def _on_http(request: Request, error: HTTPException) -> Response:
    kind, message = STATUS_SENTENCES.get(error.status_code, STATUS_SENTENCES[400])
    problem = kind([]) if kind is InvalidInput else kind(message)
    response = respond(request, problem, error.status_code)
    response.headers.update(error.headers or {})
    return response


def _on_gone(request: Request, error: ClientDisconnect) -> Response:
    """Whoever hung up while sending: nobody reads this, and nothing is wrong with us."""
    return Response(status_code=400)


def _on_validation(request: Request, error: RequestValidationError) -> Response:
    """A bad key in the address names nothing that exists; anything else is bad input."""
    found = error.errors()
    if any(each["loc"][0] == "path" for each in found):
        return respond(request, NotFound(STATUS_SENTENCES[404][1]))
    return respond(request, InvalidInput([_field_error(each) for each in found]))


def _field_error(error: Mapping[str, Any]) -> FieldError:
    name = ".".join(map(str, error["loc"][1:]))
    return FieldError(name, *invalid.told(error, name or str(error["loc"][0])))


def _on_database(request: Request, error: DBAPIError) -> Response:
    log.error(
        "the database could not serve %s %s: %s", request.method, request.url.path, error.orig
    )
    if _misses_something(error) and _lacks_migrations():
        told = N_("This site is being upgraded. Nothing was changed; try again in a while.")
        return respond(request, errors.Unavailable(told))
    if isinstance(error, ProgrammingError):
        raise error
    return respond(
        request, errors.Unavailable(N_("The database is busy. Nothing was changed; try again."))
    )


def _misses_something(error: DBAPIError) -> bool:
    """Whether a table or a column is not there; SQLite calls that an operational error."""
    return isinstance(error, ProgrammingError) or "no such" in str(error.orig)


def _lacks_migrations() -> bool:
    # Alembic takes most of a second to import.
    from app.migrate import Standing, standing

    try:
        return standing(get_engine()) in (Standing.EMPTY, Standing.BEHIND)
    except SQLAlchemyError:
        return False


def _on_bug(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this answer, so the server logs it with its trace.
    # The answer passes by our middleware, so the headers are set here.
    response = respond(request, Bug(N_("Something went wrong. The server's log has the details.")))
    response.headers.update(HEADERS)
    return response


class Bug(AppError):
    """A failure of this program."""

    status_code = 500
    title = N_("Internal error")
