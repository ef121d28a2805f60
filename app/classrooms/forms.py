"""The pages with forms: lab sessions and limits of a class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Named
from sqlalchemy.orm import Session

from app import clock
from app.accounts.views import told_errors
from app.classrooms import sessions
from app.classrooms.limits import limit_fields
from app.classrooms.times import Span
from app.errors import AppError, FieldError, InvalidInput
from app.forms import Field, Values
from app.i18n import N_
from app.models import Classroom, ClassSession
from app.settings import get_settings

MINUTE = timedelta(minutes=1)
LONGEST_SLICE = 240
HOURS = ("1", "1.5", "2", "3", "4", "6")
EXTENSIONS = ("15", "30", "60")


class SessionForm(BaseModel):
    """The hours of a lab session as a person sent them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    day: str = ""
    begin: str = Named(default="", alias="from")
    until: str = ""
    offset: str = ""
    slice: str = ""

    @property
    def texts(self) -> Mapping[str, str]:
        return self.model_dump(by_alias=True)


class LimitsForm(BaseModel):
    """The limits of a class as a person sent them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    max_waiting_per_person: str = ""
    max_running_per_person: str = ""
    max_device_seconds_per_person: str = ""
    max_waiting: str = ""
    max_running: str = ""
    max_device_seconds: str = ""
    offers_same_work: str = ""

    @property
    def limits(self) -> Mapping[str, str]:
        return self.model_dump(exclude={"offers_same_work"})

    @property
    def offers(self) -> bool:
        return self.offers_same_work == "true"


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A lab session, and the sessions of other classes within its hours."""

    one: ClassSession
    sharing: Sequence[ClassSession]


@dataclass(frozen=True, slots=True)
class SessionsPage:
    """Lab sessions of a class, and the forms for new ones. Rendered by classrooms/sessions.html."""

    classroom: Classroom
    current: Sequence[SessionLine]
    upcoming: Sequence[SessionLine]
    past: Sequence[ClassSession]
    texts: Mapping[str, str]
    hours_offered: Sequence[str] = HOURS
    extensions: Sequence[str] = EXTENSIONS
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LimitsPage:
    """How much a class may take. Rendered by classrooms/limits.html."""

    classroom: Classroom
    per_person: Sequence[Field]
    per_class: Sequence[Field]
    offers_same_work: bool
    is_saved: bool
    has_errors: bool


def sessions_page(
    session: Session,
    classroom: Classroom,
    texts: Mapping[str, str] | None = None,
    error: AppError | None = None,
) -> SessionsPage:
    now = clock.now()
    own = [each for each in sessions.current(session, now) if each.classroom_id == classroom.id]
    return SessionsPage(
        classroom=classroom,
        current=_lines(session, own),
        upcoming=_lines(session, sessions.upcoming(session, now, classroom.id)),
        past=sessions.past(session, now, classroom.id),
        texts={**_fresh(), **(texts or {})},
        errors=told_errors(error),
    )


def limits_page(
    classroom: Classroom,
    values: Values | None = None,
    offers: bool | None = None,
    is_saved: bool = False,
) -> LimitsPage:
    fields = limit_fields(classroom, values)
    return LimitsPage(
        classroom=classroom,
        per_person=[each for each in fields if each.name.endswith("_per_person")],
        per_class=[each for each in fields if not each.name.endswith("_per_person")],
        offers_same_work=classroom.offers_same_work if offers is None else offers,
        is_saved=is_saved,
        has_errors=values is not None,
    )


def read_slice(text: str) -> timedelta:
    """The time slice of a session, from minutes; empty is the site's.

    Raises:
        InvalidInput: Unless it is a whole number of minutes within reason.
    """
    text = text.strip()
    if not text:
        return get_settings().session_slice
    is_whole = text.isascii() and text.isdigit() and len(text) <= 3
    if not is_whole or not 1 <= int(text) <= LONGEST_SLICE:
        told = N_("Enter whole minutes, from 1 to {most}.")
        raise InvalidInput([FieldError("slice", told, {"most": LONGEST_SLICE})])
    return int(text) * MINUTE


def read_choice(name: str, text: str, choices: Sequence[str]) -> float:
    """A number of a list to choose from."""
    if text not in choices:
        told = N_("Choose one of: {known}.")
        raise InvalidInput([FieldError(name, told, {"known": ", ".join(choices)})])
    return float(text)


def _fresh() -> dict[str, str]:
    """An empty form; its day is that of Greenwich until the browser knows better."""
    minutes = round(get_settings().session_slice / MINUTE)
    day = clock.now().astimezone(UTC).date().isoformat()
    return {"day": day, "from": "", "until": "", "slice": str(minutes)}


def _lines(session: Session, found: Sequence[ClassSession]) -> list[SessionLine]:
    return [
        SessionLine(
            each, sessions.sharing(session, Span(each.starts_at, each.ends_at), each.classroom_id)
        )
        for each in found
    ]
