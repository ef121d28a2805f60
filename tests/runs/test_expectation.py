"""When a run may start: the range holds what then happens."""

from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.runs import measured
from app.runs.measured import Progress
from app.runs.places import Live, Place, Rules, Waiting
from app.runs.scheduling import choose, explain
from tests.runs.queues import (
    ADA,
    BOB,
    EVE,
    GIB,
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

# Whole seconds, so that sums of floats are exact.
estimates = st.tuples(st.integers(1, 300), st.integers(0, 300)).map(lambda p: (p[0], p[0] + p[1]))


def starts(waiting: list[Waiting], places: list[Place]) -> dict[int, tuple[datetime, datetime]]:
    told = explain(choose(waiting, places, {}, NOON), NOON)
    return {run.int: each.expected_start for run, each in told.items() if each.expected_start}


@st.composite
def afternoons(draw: st.DrawFn) -> tuple[list[Job], list[Place]]:
    """People with one run of equal size each, and durations somewhere within the estimates."""
    jobs = []
    for number in range(draw(st.integers(1, 12))):
        low, high = draw(estimates)
        seconds = draw(st.integers(low, high))
        owner = UUID(int=500 + number)
        jobs.append(
            Job(UUID(int=100 + number), owner, 0.0, seconds, 2 * GIB, (float(low), float(high)))
        )
    places = [
        place(f"cuda:{number}", draw(st.integers(1, 3)), draw(st.integers(2, 8)))
        for number in range(draw(st.integers(1, 3)))
    ]
    return jobs, places


@simulated
@given(afternoons())
def test_the_range_holds_the_start_when_durations_lie_within_theirs(
    afternoon: tuple[list[Job], list[Place]],
) -> None:
    jobs, places = afternoon
    box = Box(jobs, places)
    plan = choose([box.as_waiting(job) for job in jobs], places, {}, NOON)
    told = explain(plan, NOON)
    box.work()
    for job in jobs:
        if job.run in told:
            expected = told[job.run].expected_start
            assert expected is not None
            early, late = expected
            assert early <= NOON + timedelta(seconds=job.starts[0]) <= late


@law
@given(queues(), sites(), usages, rules)
def test_expected_starts_are_ranges_that_do_not_lie_in_the_past(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float], rules: Rules
) -> None:
    plan = choose(waiting, places, usage, NOON, rules)
    for explained in explain(plan, NOON, rules).values():
        if explained.expected_start is not None:
            early, late = explained.expected_start
            assert NOON <= early <= late


@law
@given(queues(), sites(), usages, st.integers(0, 5))
def test_explaining_only_the_first_says_the_same_of_them(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float], first: int
) -> None:
    plan = choose(waiting, places, usage, NOON)
    everybody, few = explain(plan, NOON), explain(plan, NOON, first=first)
    front = plan.front(first)
    assert list(few) == [run.run for run in front]
    assert {run: each.position for run, each in few.items()} == {
        run.run: everybody[run.run].position for run in front
    }


def test_it_follows_from_what_runs_and_what_is_ahead() -> None:
    ends = (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    queue = [run(1, ADA, seconds=(60.0, 120.0)), run(2, BOB)]
    told = starts(queue, [place("cuda:0", 1, 8, Live(UUID(int=9), EVE, GIB, ends))])
    assert told[1] == ends
    assert told[2] == (NOON + timedelta(minutes=2), NOON + timedelta(minutes=4))


def test_nothing_is_said_behind_a_run_of_which_nothing_is_known() -> None:
    told = starts([run(1, ADA), run(2, BOB)], [place("cuda:0", 1, 8, live(9, EVE))])
    assert told == {}


def test_memory_counts_where_slots_are_left() -> None:
    ends = (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    busy = place("cuda:0", 4, 8, Live(UUID(int=9), EVE, 6 * GIB, ends))
    assert starts([run(1, ADA, memory_bytes=4 * GIB)], [busy])[1] == ends


def test_a_run_that_is_late_may_take_as_long_again_as_it_is_late() -> None:
    ends = (NOON - timedelta(minutes=5), NOON - timedelta(minutes=2))
    told = starts([run(1)], [place("cuda:0", 1, 8, Live(UUID(int=9), EVE, GIB, ends))])
    assert told[1] == (NOON, NOON + timedelta(minutes=2))


def test_the_speed_so_far_replaces_the_estimate() -> None:
    began = NOON - timedelta(seconds=100)
    half = Progress(stages=2, after=1, done=0.5, stage_started_at=began)
    ends = measured.ends((1000.0, 2000.0), began, half, NOON)
    assert ends == (NOON + timedelta(seconds=100 + 500), NOON + timedelta(seconds=125 + 1000))


def test_the_estimate_holds_until_the_speed_can_be_believed() -> None:
    began = NOON - timedelta(seconds=100)
    barely = Progress(stages=1, after=0, done=0.01, stage_started_at=began)
    expected = (began + timedelta(seconds=1000), began + timedelta(seconds=2000))
    assert measured.ends((1000.0, 2000.0), began, barely, NOON) == expected
    assert measured.ends((1000.0, 2000.0), began, None, NOON) == expected
    assert measured.ends(None, began, barely, NOON) is None
