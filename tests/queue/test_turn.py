"""The card of a waiting run and the terms of its turn: what is ahead, in words and in numbers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import clock
from app.database import transaction
from app.models import ClassSession, RunState
from app.queue.spans import Span, roughly, stored
from app.queue.turn import AROUND, turn_page
from app.queue.waiting import told_apart, waiting_card
from app.runs.reasons import reason_of
from app.runs.turns import terms
from app.runs.world import read_world
from tests.support.factories import NOON, make_classroom, make_device, make_run, make_user
from tests.support.site import Site

ME, OTHERS = UUID(int=0), [UUID(int=number) for number in range(1, 5)]
CLASSES = [None, UUID(int=90), UUID(int=91)]
ahead_rows = st.lists(
    st.tuples(
        st.sampled_from([ME, *OTHERS]),
        st.sampled_from(CLASSES),
        st.sampled_from([None, NOON]),
    ),
    max_size=20,
)


@given(rows=ahead_rows, busy=st.sets(st.sampled_from([ME, *OTHERS])))
def test_every_run_ahead_is_counted_once(rows: list[Any], busy: set[UUID]) -> None:
    ahead = told_apart(rows, ME, {UUID(int=90)}, busy)
    parts = (ahead.session, ahead.boosted, ahead.own, ahead.first, ahead.others)
    assert sum(parts) == ahead.total == len(rows)
    assert ahead.own == sum(owner == ME for owner, _, _ in rows)
    assert ahead.first <= len(OTHERS)


def test_what_is_ahead_is_said_in_words() -> None:
    rows = [(OTHERS[0], UUID(int=90), None), (OTHERS[1], None, None), (OTHERS[2], None, None)]
    said = told_apart(rows, ME, {UUID(int=90)}, set()).words()
    assert said == "3 runs ahead: 1 in a lab session, 2 first runs of others"


@given(low=st.floats(-1e5, 1e5), length=st.floats(0, 1e5))
def test_a_span_is_said_however_long_it_is(low: float, length: float) -> None:
    span = Span(NOON + timedelta(seconds=low), NOON + timedelta(seconds=low + length))
    assert span.words(NOON)
    assert span.left(NOON)


def test_spans_are_rough() -> None:
    assert [roughly(seconds) for seconds in (0, 44, 100, 3600, 5400)] == [
        "0 s", "40 s", "2 min", "60 min", "1 h 30 min",
    ]  # fmt: skip
    assert stored(None) is None


@pytest.mark.parametrize("at", [1, 2, 9, 20])
def test_the_head_and_the_neighbours_are_shown_with_the_terms_they_have_in_the_whole_line(
    site: Site, at: int
) -> None:
    now, people = clock.now(), ["sam", "tess", "nina", "ada"]
    site.add("nina")
    with transaction() as session:
        make_device(session, heartbeat_at=now)
        live = {"device": "cpu", "state": RunState.RUNNING, "assigned_at": now, "attempt": 1}
        make_run(session, site.people["tess"], **live)
        runs = [
            make_run(
                session, site.people[people[place % 4]], position=place,
                queued_at=now - timedelta(minutes=7 * place % 11),
                boosted_at=now if place % 5 == 0 else None,
            )
            for place in range(1, 21)
        ]  # fmt: skip
        page = turn_page(session, site.people["ada"], runs[at - 1])
        world = read_world(session, page.now)
        whole = terms(world.waiting, world.places, world.usage, page.now, world.rules)
    shown = [line.place for line in page.lines]
    assert shown == sorted({1, *range(max(1, at - AROUND), min(20, at + AROUND) + 1)})
    assert [line.is_this for line in page.lines] == [place == at for place in shown]
    in_line = {each.run: replace(each, rank=0) for each in whole}
    for line in page.lines:
        assert replace(line.terms, rank=0) == in_line[line.terms.run]


def test_a_run_that_has_no_place_yet_stands_at_the_end(site: Site) -> None:
    _first, second = two_wait(site)
    with transaction() as session:
        late = make_run(session, site.people["sam"], name="late")
        lines = turn_page(session, site.people["sam"], late).lines
    assert [(line.place, line.is_this) for line in lines] == [(1, False), (2, False), (None, True)]
    assert lines[1].terms.run == second


def two_wait(site: Site) -> tuple[UUID, UUID]:
    with transaction() as session:
        make_device(session, heartbeat_at=clock.now())
        start = {
            "earliest": (clock.now() + timedelta(minutes=4)).isoformat(),
            "latest": (clock.now() + timedelta(minutes=9)).isoformat(),
        }
        values = {"reason": reason_of("Ahead in line: {ahead}.", ahead=1), "expected_start": start}
        first = make_run(session, site.people["tess"], position=1, name="tulip of tess")
        second = make_run(session, site.people["sam"], position=2, **values)
        return first.id, second.id


def test_the_card_says_place_start_reason_and_what_is_ahead(site: Site) -> None:
    _first, run = two_wait(site)
    page = site.client("sam").get(f"/runs/{run}").text
    for part in (
        "of 2",
        "Ahead in line: 1.",
        "in 4 min to 9 min",
        "1 run ahead: 1 first run of others",
    ):
        assert part in page, part
    assert "Place in the queue: 2" in page
    assert f'hx-get="/runs/{run}/turn"' in page


def test_a_run_that_waits_again_has_no_clock_that_runs_on(site: Site) -> None:
    began = {"started_at": NOON, "position": 1}
    with transaction() as session:
        run = make_run(session, site.people["sam"], **began)
        live = make_run(session, site.people["sam"], state=RunState.RUNNING, **began)
    pages = [site.client("sam").get(f"/runs/{each}").text for each in (run.id, live.id)]
    assert ["<elapsed-time" in page for page in pages] == [False, True]
    assert "Nobody can tell yet when it starts." in pages[0]


def test_a_run_that_waits_no_more_has_no_card(site: Site) -> None:
    with transaction() as session:
        run = make_run(session, site.people["sam"], state=RunState.SUCCEEDED, finished_at=NOON)
    assert "Waiting for its turn" not in site.client("sam").get(f"/runs/{run.id}").text
    assert "does not wait any more" in site.client("sam").get(f"/runs/{run.id}/turn").text
    assert site.script("sam").get(f"/api/v1/runs/{run.id}/turn").json()["terms"] == []


def test_a_lab_session_and_a_boost_show_on_the_card(site: Site) -> None:
    now = clock.now()
    with transaction() as session:
        owner = make_user(session)
        classroom = make_classroom(session, owner)
        hour = {"starts_at": now - timedelta(hours=1), "ends_at": now + timedelta(hours=1)}
        session.add(
            ClassSession(
                classroom_id=classroom.id, slice_seconds=60, created_by_id=owner.id,
                created_at=now, **hour,
            )
        )  # fmt: skip
        run = make_run(session, owner, position=1, classroom_id=classroom.id, boosted_at=now)
        card = waiting_card(session, owner, run)
    assert card is not None
    assert (card.in_session, card.is_boosted, card.total) == (True, True, 1)


def test_the_terms_show_every_rule_and_nobody_elses_name(site: Site) -> None:
    first, run = two_wait(site)
    page = site.client("sam").get(f"/runs/{run}/turn").text
    for title in ("1. Session", "2. Moved up", "3. Turn", "Used", "Credit", "4. Debt (s)"):
        assert page.count(f">{title}<") == 2, (
            title
        )  # in the head of the table, and explained below it
    assert "tulip" not in page
    assert str(first) not in page
    block = site.client("sam").get(f"/runs/{run}/turn", headers={"HX-Request": "true"}).text
    assert "<html" not in block
    terms = site.script("sam").get(f"/api/v1/runs/{run}/turn").json()["terms"]
    assert {each["this"]: each["run"] is None for each in terms} == {True: False, False: True}


def test_the_terms_are_the_owners_and_their_instructors(site: Site) -> None:
    first, run = two_wait(site)
    assert site.client("maria").get(f"/runs/{run}/turn").status_code == 200
    for name, other in (("tariq", run), ("maria", first), ("sam", first)):
        assert site.client(name).get(f"/runs/{other}/turn").status_code == 404
    assert "tulip of tess" in site.client("ada").get(f"/runs/{run}/turn").text
