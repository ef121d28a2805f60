"""Who is asked to make room: laws for every queue, and what follows over an afternoon."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.runs.places import LabSession, Place, Rules, Waiting
from app.runs.preemption import ABOUT_TO_END, LEAST_WORK, make_room
from app.runs.scheduling import choose
from app.runs.turns import Line
from tests.runs.queues import (
    ADA,
    BOB,
    EVE,
    GIB,
    MATHS,
    NOON,
    Box,
    Job,
    law,
    live,
    place,
    queues,
    rules,
    run,
    simulated,
    sites,
    usages,
)

SLICE = timedelta(minutes=20).total_seconds()
Usage = dict[UUID, float]


def asked(waiting: list[Waiting], places: list[Place], rules: Rules | None = None) -> list[int]:
    return [each.run.int for each in make_room(waiting, places, {EVE: 4000.0}, NOON, rules)]


@law
@given(queues(), sites(), usages, rules)
def test_who_is_asked_is_another_persons_later_in_line_and_has_worked(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules
) -> None:
    plan = choose(waiting, places, usage, NOON, rules)
    line = Line(plan.left, plan.places, usage, NOON, rules)
    keys = {run.run: key for key, run in line.keyed()}
    waits = {run.run: run for run in plan.left}
    lives = {each.run: each for place in plan.places for each in place.runs}
    for each in make_room(plan.left, plan.places, usage, NOON, rules):
        victim, comer = lives[each.run], waits[each.for_run]
        assert victim.owner != comer.owner
        assert not victim.is_asked
        assert line.key_on_return(victim) > keys[comer.run]
        assert victim.since is not None
        assert NOON - victim.since >= LEAST_WORK
        assert each.reason["message"].format(**each.reason["values"])


@law
@given(queues(), sites(), usages, rules)
def test_without_those_asked_the_run_fits_and_none_is_asked_in_vain(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules
) -> None:
    plan = choose(waiting, places, usage, NOON, rules)
    preemptions = make_room(plan.left, plan.places, usage, NOON, rules)
    assert len({each.run for each in preemptions}) == len(preemptions)
    going = {each.run for each in preemptions}
    coming = {each.for_run for each in preemptions}
    for each in plan.places:
        gone = [live for live in each.runs if live.run in going]
        if not gone or each.pool:
            continue
        stay = sum(
            live.memory_bytes for live in each.runs if live not in gone and not live.is_asked
        )
        comers = {p.for_run for p in preemptions if p.run in {live.run for live in gone}}
        need = sum(run.memory_bytes for run in waiting if run.run in comers)
        assert stay + need <= each.memory_bytes
        assert len(comers) <= len(gone)
    assert len(coming) <= len(going)


def test_after_a_slice_a_run_makes_room_for_one_that_has_waited_as_long() -> None:
    busy = place("cuda:0", 1, 8, live(9, EVE, worked=SLICE))
    assert asked([run(1, ADA, waited=SLICE)], [busy]) == [9]
    assert asked([run(1, ADA, waited=SLICE - 1)], [busy]) == []
    younger = place("cuda:0", 1, 8, live(9, EVE, worked=SLICE - 1))
    assert asked([run(1, ADA, waited=SLICE)], [younger]) == []


def test_nobody_is_asked_for_a_run_of_their_own() -> None:
    assert asked([run(1, EVE, waited=SLICE)], [place("cuda:0", 1, 8, live(9, EVE))]) == []


def test_nobody_is_asked_who_was_asked_or_is_about_to_end() -> None:
    ends = (NOON, NOON + ABOUT_TO_END)
    for each in (live(9, EVE, is_asked=True), live(9, EVE, ends=ends)):
        assert asked([run(1, ADA, waited=SLICE)], [place("cuda:0", 1, 8, each)]) == []


def test_nobody_is_asked_where_it_would_not_help() -> None:
    stays = live(8, EVE, worked=60, memory_bytes=4 * GIB)
    busy = place("cuda:0", 2, 8, stays, live(9, EVE))
    assert asked([run(1, ADA, waited=SLICE, memory_bytes=6 * GIB)], [busy]) == []


def test_a_large_run_has_as_many_asked_as_it_needs_and_no_more() -> None:
    busy = [live(n, EVE, memory_bytes=size * GIB) for n, size in ((7, 1), (8, 3), (9, 4))]
    large = run(1, ADA, waited=SLICE, memory_bytes=7 * GIB)
    assert sorted(asked([large], [place("cuda:0", 4, 8, *busy)])) == [8, 9]


def test_whoever_has_used_the_devices_least_is_asked_last() -> None:
    places = [place("cuda:0", 1, 8, live(8, BOB)), place("cuda:1", 1, 8, live(9, EVE))]
    assert asked([run(1, ADA, waited=SLICE)], places) == [9]


def test_nobody_is_asked_for_a_run_at_its_limit() -> None:
    rules = Rules(running_per_person={None: 1})
    places = [place("cuda:0", 1, 8, live(8, ADA)), place("cuda:1", 1, 8, live(9, EVE))]
    assert asked([run(1, ADA, waited=SLICE)], places, rules) == []


def test_others_make_room_at_once_for_a_lab_session_once_they_have_worked_a_little() -> None:
    rules = Rules(sessions={MATHS: LabSession(timedelta(minutes=5), NOON + timedelta(hours=1))})
    comer = run(1, ADA, classroom=MATHS)
    assert asked([comer], [place("cuda:0", 1, 8, live(9, worked=31))], rules) == [9]
    assert asked([comer], [place("cuda:0", 1, 8, live(9, worked=29))], rules) == []


def test_within_a_lab_session_its_own_slice_holds() -> None:
    rules = Rules(sessions={MATHS: LabSession(timedelta(minutes=5), NOON + timedelta(hours=1))})
    comer = run(1, ADA, waited=300, classroom=MATHS)
    for worked, expected in ((299, []), (300, [9])):
        busy = place("cuda:0", 1, 8, live(9, EVE, worked=worked, classroom=MATHS))
        assert asked([comer], [busy], rules) == expected


@st.composite
def afternoons(draw: st.DrawFn) -> list[Job]:
    return [
        Job(
            UUID(int=100 + number),
            UUID(int=draw(st.integers(1, 4))),
            float(draw(st.integers(0, 3600))),
            float(draw(st.integers(60, 3 * 3600))),
            draw(st.integers(1, 8)) * GIB,
        )
        for number in range(draw(st.integers(2, 8)))
    ]


@simulated
@given(afternoons())
def test_nothing_goes_to_and_fro(jobs: list[Job]) -> None:
    """Each stay lasts a slice at least or to the end, and nobody takes back what they gave."""
    box = Box(jobs, [place("cuda:0", 2, 8), place("cuda:1", 2, 8)]).work()
    slice_seconds = Rules().time_slice.total_seconds()
    for job in box.jobs:
        assert job.ended is not None
        assert all(later - earlier >= slice_seconds for earlier, later in pairwise(job.starts))
        # It waits a slice in vain before it is given a turn by asking somebody.
        assert len(job.starts) <= 1 + job.seconds / slice_seconds


def test_two_long_runs_on_one_device_take_turns() -> None:
    jobs = [Job(UUID(int=n), UUID(int=n), 0.0, 7200.0) for n in (1, 2)]
    Box(jobs, [place("cuda:0", 1, 8)]).work()
    assert [len(job.starts) for job in jobs] >= [3, 3]
    assert all(job.ended is not None and job.ended < 15_000 for job in jobs)
