"""Hours as a person enters them, in their own time zone, and as rows keep them, in UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone

from app.errors import FieldError, InvalidInput
from app.i18n import N_

# No place on Earth is further from Greenwich, in minutes (Kiribati is 14 hours ahead).
FURTHEST = 14 * 60
FIRST_YEAR, LAST_YEAR = 2000, 2200


@dataclass(frozen=True, slots=True)
class Span:
    """From an instant to a later one."""

    starts_at: datetime
    ends_at: datetime

    @property
    def length(self) -> timedelta:
        return self.ends_at - self.starts_at


def read_span(day: str, begin: str, until: str, offset: str) -> Span:
    """The hours of a form. An end that is not after the beginning is on the next day.

    Args:
        day: A date such as 2026-03-02.
        begin: A time of day such as 09:00.
        until: A time of day.
        offset: Minutes by which the person's zone is ahead of UTC; empty without JavaScript.

    Raises:
        InvalidInput: With every field that does not hold.
    """
    problems = [_problem(*each) for each in (("day", day), ("from", begin), ("until", until))]
    if any(problems):
        raise InvalidInput([problem for problem in problems if problem])
    zone = read_offset(offset)
    starts_at = datetime.combine(date.fromisoformat(day), time.fromisoformat(begin), zone)
    ends_at = datetime.combine(date.fromisoformat(day), time.fromisoformat(until), zone)
    if ends_at <= starts_at:
        ends_at += timedelta(days=1)
    return Span(starts_at.astimezone(UTC), ends_at.astimezone(UTC))


def read_offset(text: str) -> timezone:
    """The zone of a browser; UTC where nothing sensible was sent."""
    digits = text.removeprefix("-")
    minutes = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 3 else 0
    return timezone(timedelta(minutes=minutes if abs(minutes) <= FURTHEST else 0))


def _problem(name: str, text: str) -> FieldError | None:
    kind = date if name == "day" else time
    try:
        found = kind.fromisoformat(text)
    except ValueError:
        told = N_("Enter a day.") if kind is date else N_("Enter a time of day.")
        return FieldError(name, told)
    if isinstance(found, date) and not FIRST_YEAR <= found.year <= LAST_YEAR:
        return FieldError(name, N_("Enter a day."))
    if isinstance(found, time) and found.tzinfo is not None:
        return FieldError(name, N_("Enter a time of day."))
    return None
