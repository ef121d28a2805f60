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

    @property
    def ends(self) -> tuple[str, str]:
        """Both ends as attributes of a page take them."""
        return self.earliest.isoformat(timespec="seconds"), self.latest.isoformat(
            timespec="seconds"
        )

    def words(self, now: datetime) -> str:
        """How far away it is: "in 4 min to 9 min"; a script keeps it true on the page."""
        low, high = self._seconds(now)
        if high < 1:
            return gettext("any moment now")
        least, most = roughly(low), roughly(high)
        if least == most:
            return gettext("in about {time}").format(time=most)
        if low < NOW_SECONDS:
            return gettext("within {time}").format(time=most)
        return gettext("in {low} to {high}").format(low=least, high=most)

    def left(self, now: datetime) -> str:
        """How long something that goes on still takes."""
        low, high = self._seconds(now)
        if high < 1:
            return gettext("longer than expected")
        least, most = roughly(low), roughly(high)
        if least == most:
            return gettext("about {time} left").format(time=most)
        if low < NOW_SECONDS:
            return gettext("at most {time} left").format(time=most)
        return gettext("{low} to {high} left").format(low=least, high=most)

    def _seconds(self, now: datetime) -> tuple[float, float]:
        low, high = (self.earliest - now).total_seconds(), (self.latest - now).total_seconds()
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
