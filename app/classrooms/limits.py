"""How much of the devices a class and each of its people may take."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.audit.record import record
from app.errors import FieldError, InvalidInput
from app.forms import Field, Values
from app.i18n import N_, gettext, number, sentence
from app.models import Classroom, User
from app.settings import get_settings

LARGEST = 1_000_000
MINUTE = 60
SECONDS = "device_seconds"
# What may be limited, of each person and of the class as a whole.
TITLES = {
    "max_waiting_per_person": N_("Runs waiting"),
    "max_running_per_person": N_("Runs on devices at a time"),
    "max_device_seconds_per_person": N_("Device time in 24 hours"),
    "max_waiting": N_("Runs waiting"),
    "max_running": N_("Runs on devices at a time"),
    "max_device_seconds": N_("Device time in 24 hours"),
}


def site_default(name: str) -> int | None:
    """What holds where the class has no limit of its own; None is no limit."""
    default: int | None = getattr(get_settings(), name, None)
    return default


def limit_fields(classroom: Classroom, values: Values | None = None) -> list[Field]:
    """The form's controls, in the order of TITLES; device time is shown in minutes."""
    sent = values or Values()
    return [sent.put(_field(classroom, name, title)) for name, title in TITLES.items()]


def set_limits(
    session: Session, actor: User, classroom: Classroom, form: Mapping[str, str], offers: bool
) -> None:
    """Give a class the limits of a form; an empty field leaves the limit to the site.

    Raises:
        InvalidInput: With every field that does not hold.
    """
    read = {name: _read(name, form.get(name, "")) for name in TITLES}
    problems = [value for value in read.values() if isinstance(value, FieldError)]
    if problems:
        raise InvalidInput(problems)
    wanted: dict[str, Any] = {**read, "offers_same_work": offers}
    before = {name: getattr(classroom, name) for name in wanted}
    changed = [name for name in wanted if wanted[name] != before[name]]
    for name in changed:
        setattr(classroom, name, wanted[name])
    if changed:
        told = {"before": {n: before[n] for n in changed}, "after": {n: wanted[n] for n in changed}}
        record(session, actor, "limits_changed", classroom.name, **told)


def _field(classroom: Classroom, name: str, title: str) -> Field:
    value: int | None = getattr(classroom, name)
    return Field(
        name=name,
        title=gettext(title),
        kind="number",
        value="" if value is None else _shown(name, value),
        unit=gettext(N_("minutes")) if SECONDS in name else "",
        help=_default_told(name),
        minimum="1",
        maximum=str(LARGEST),
        step="1",
    )


def _shown(name: str, value: int) -> str:
    return str(value // MINUTE) if SECONDS in name else str(value)


def _default_told(name: str) -> str:
    default = site_default(name)
    if default is None:
        return gettext(N_("Empty: no limit."))
    told = N_("Empty: {count}, as everywhere on this site.")
    return sentence(told, {"count": number(int(_shown(name, default)))})


def _read(name: str, text: str) -> int | FieldError | None:
    text = text.strip()
    if not text:
        return None
    is_whole = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))
    if not is_whole or not 1 <= int(text) <= LARGEST:
        told = N_("“{text}” does not fit: enter a whole number from 1 to {most}, or nothing.")
        return FieldError(name, told, {"text": text[:20], "most": number(LARGEST)})
    return int(text) * (MINUTE if SECONDS in name else 1)
