"""Stretches of time that are expected, not known: when a run starts, how long one still takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.i18n import gettext
from app.runs import measured
from app.runs.world import progress_of

# What is nearer than this is not worth a figure.
NOW_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Span:
    """From the earliest to the latest instant of something expected."""

    earliest: datetime
    latest: datetime

    def words(self, now: datetime) -> str:
        """How far away it is: "in 4 min to 9 min"; a script keeps it true on the page."""
        low, high = self._seconds(now)
        if high < 1:
            return gettext("any moment now")
        if roughly(low) == roughly(high):
            return gettext("in about {time}").format(time=roughly(high))
        if low < NOW_SECONDS:
            return gettext("within {time}").format(time=roughly(high))
        return gettext("in {low} to {high}").format(low=roughly(low), high=roughly(high))

    def left(self, now: datetime) -> str:
        """How long something that goes on still takes."""
        low, high = self._seconds(now)
        if high < 1:
            return gettext("longer than expected")
        if roughly(low) == roughly(high):
            return gettext("about {time} left").format(time=roughly(high))
        if low < NOW_SECONDS:
            return gettext("at most {time} left").format(time=roughly(high))
        return gettext("{low} to {high} left").format(low=roughly(low), high=roughly(high))

    def _seconds(self, now: datetime) -> tuple[float, float]:
        low, high = ((end - now).total_seconds() for end in (self.earliest, self.latest))
        return max(0.0, low), max(0.0, high)


def stored(expected: Mapping[str, str] | None) -> Span | None:
    """The span of a stored expected start {"earliest", "latest"}."""
    if not expected:
        return None
    earliest, latest = (datetime.fromisoformat(expected[key]) for key in ("earliest", "latest"))
    return Span(earliest, latest)


def expected_end(run: Any, now: datetime) -> Span | None:
    """When a live run should end, as the scheduler judges it; `run` is a row of a run or of a line."""
    low, high = run.seconds_low, run.seconds_high
    seconds = None if low is None or high is None else (low, high)
    ends = measured.ends(seconds, run.assigned_at, progress_of(run), now)
    return Span(*ends) if ends else None


def roughly(seconds: float) -> str:
    """A length of time as people say it: seconds by tens, then minutes, then hours."""
    if seconds < 90:
        return gettext("%(count)s s") % {"count": round(seconds / 10) * 10}
    minutes = round(seconds / 60)
    if minutes < 90:
        return gettext("{minutes} min").format(minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    return gettext("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}
