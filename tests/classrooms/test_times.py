"""Hours as people enter them, anywhere on Earth."""

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.classrooms.times import FURTHEST, read_offset, read_span
from app.errors import InvalidInput

days = st.dates(date(2020, 1, 2), date(2100, 1, 1))
hours = st.times().map(lambda each: each.replace(second=0, microsecond=0))
offsets = st.integers(-FURTHEST, FURTHEST)


@given(days, hours, hours, offsets)
def test_hours_read_as_they_were_entered_where_they_were_entered(
    day: date, begin: time, until: time, offset: int
) -> None:
    span = read_span(day.isoformat(), f"{begin:%H:%M}", f"{until:%H:%M}", str(offset))
    local = timezone(timedelta(minutes=offset))
    assert span.starts_at.astimezone(local) == datetime.combine(day, begin, local)
    assert span.ends_at.astimezone(local).time() == until
    assert timedelta(0) < span.length <= timedelta(days=1)
    assert (span.starts_at.tzinfo, span.ends_at.tzinfo) == (UTC, UTC)


@given(days, hours, hours, st.sampled_from(["", "UTC", "99999", "1e9", "-", "٣", "  60"]))
def test_without_a_sensible_offset_hours_are_utc(
    day: date, begin: time, until: time, offset: str
) -> None:
    span = read_span(day.isoformat(), f"{begin:%H:%M}", f"{until:%H:%M}", offset)
    assert span.starts_at == datetime.combine(day, begin, UTC)
    assert read_offset(offset) == UTC


@given(st.text(max_size=12), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_whatever_is_sent_there_are_hours_or_a_sentence_for_each_field(
    day: str, begin: str, until: str, offset: str
) -> None:
    try:
        span = read_span(day, begin, until, offset)
    except InvalidInput as refused:
        wrong = {each.field for each in refused.errors}
    else:
        assert span.starts_at < span.ends_at
        return
    assert wrong
    assert wrong <= {"day", "from", "until"}


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_span("soon", "nine", "25:00", "60")
    assert [each.field for each in caught.value.errors] == ["day", "from", "until"]
