"""What a served model's address refuses, in the shape that clients of OpenAI's interface read."""

import json
from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import Response

from app.errors import AppError, Conflict, InvalidInput, NotFound, NotSignedIn, TooMany, Unavailable
from app.i18n import N_, sentence

PREFIX = "/serve/"
# The page's own box to try a model asks under the session and reads the same answers.
TRIAL = "/endpoint/trial"
KINDS: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
RETRY_SECONDS = 5
UNREACHABLE = N_("The model's server cannot be reached. It may just have closed.")


class WrongKey(NotSignedIn):
    """No key, or one that opens nothing."""


class NoEndpoint(NotFound):
    """The key is sound, and not for this run."""


class NotOpen(Conflict):
    """The endpoint is not open yet, or no longer."""


class NotYet(Unavailable):
    """The endpoint opens in a moment."""


class TooFast(TooMany):
    """More requests than one key may send."""


class Unreachable(Unavailable):
    """The trainer's server does not answer."""


class Broken(AppError):
    """The trainer's server answered with what is no answer."""

    status_code = 502
    title = N_("Bad answer")


CODES: Mapping[type[AppError], str] = {
    WrongKey: "invalid_api_key",
    NoEndpoint: "endpoint_not_found",
    NotOpen: "endpoint_not_open",
    NotYet: "endpoint_not_open",
    TooFast: "rate_limit_exceeded",
    Unreachable: "endpoint_unreachable",
    Broken: "endpoint_broken",
}


def speaks_openai(request: Request) -> bool:
    """Whether this address answers errors in OpenAI's shape."""
    path = request.url.path
    return path.startswith(PREFIX) or path.endswith(TRIAL)


def openai_error(error: AppError, status: int) -> Response:
    """The error as a response."""
    # A form's 422 is a 400 there.
    status = 400 if status == 422 else status
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_SECONDS)
    return Response(error_body(error, status), status, headers, media_type="application/json")


def error_body(error: AppError, status: int) -> bytes:
    """The error as OpenAI's clients read it, of a whole answer or as the last word of a stream."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    told = {
        "message": " ".join(_sentences(error)),
        "type": kind,
        "param": None,
        "code": CODES.get(type(error)),
    }
    return json.dumps({"error": told}).encode()


def _sentences(error: AppError) -> Iterator[str]:
    """What is wrong; of a form, with each of its fields."""
    if isinstance(error, InvalidInput) and error.errors:
        yield from (sentence(each.message, each.values) for each in error.errors)
    else:
        yield sentence(error.message, error.values)
