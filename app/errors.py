"""Expected failures: a person's mistake or a conflict, each with its HTTP status.

The sentence is a template and its values stand apart, so that it can be translated where
it is shown. Anything that is not an `AppError` is a bug and becomes a 500.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.i18n import N_


class AppError(Exception):
    """A failure with a sentence for the person who caused it."""

    status_code = 400
    title = N_("Bad request")

    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.values = values

    def __str__(self) -> str:
        return self.message.format(**self.values)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a form; `field` is empty for the form as a whole."""

    field: str
    message: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.message.format(**self.values)


class InvalidInput(AppError):
    """A form or body that does not hold, with every field that is wrong."""

    status_code = 422
    title = N_("Invalid input")

    def __init__(
        self,
        errors: Sequence[FieldError],
        message: str = "Please correct the marked fields.",
        alternatives: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
        # What would hold instead: {"title": sentence, "changes": {field: value}, "memory_bytes": …}.
        self.alternatives = tuple(alternatives)


class NotFound(AppError):
    """There is no such thing, or it is somebody else's."""

    status_code = 404
    title = N_("Not found")


class NotSignedIn(AppError):
    """The request carries no valid session or token."""

    status_code = 401
    title = N_("Sign in first")


class Forbidden(AppError):
    """The person may not do this."""

    status_code = 403
    title = N_("Not allowed")


class Conflict(AppError):
    """The thing has changed, or can no longer change in this way."""

    status_code = 409
    title = N_("Conflict")


class InUse(Conflict):
    """Others are made from the thing, so it stays.

    Attributes:
        used_by: Id and name of those that the person may see; `others` counts the rest.
    """

    title = N_("In use")

    def __init__(
        self, message: str, used_by: Sequence[tuple[Any, str]], others: int, **values: Any
    ) -> None:
        super().__init__(message, **values)
        self.used_by = tuple(used_by)
        self.others = others


class TooLarge(AppError):
    """The body or file is over its limit."""

    status_code = 413
    title = N_("Too large")


class TooMany(AppError):
    """A limit on how often or how much is reached."""

    status_code = 429
    title = N_("Too many")


class Unavailable(AppError):
    """Something the server needs is busy or away; the same request may work later."""

    status_code = 503
    title = N_("Try again")


class MissingHere(AppError):
    """This machine lacks something; the command line ends with exit code 3."""

    status_code = 503
    title = N_("Missing on this machine")
