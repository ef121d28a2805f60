"""Who goes next: laws that hold for every queue, and the sentences that explain it."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runs.places import Live, Place, Rules, Waiting
from app.runs.scheduling import Plan, choose, explain
from app.runs.turns import Line

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ADA, BOB, EVE = UUID(int=1), UUID(int=2), UUID(int=3)
GIB = 1 << 30

owners = st.sampled_from([ADA, BOB, EVE])
needs = st.integers(0, 10).map(lambda count: count * GIB)
ranges = st.none() | st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)).map(
    lambda pair: (min(pair), max(pair))
)
moments = st.floats(0, 10_000).map(lambda seconds: NOON - timedelta(seconds=seconds))


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    size = draw(st.integers(0, 12))
    return [
        Waiting(UUID(int=100 + n), draw(owners), draw(moments), draw(needs), draw(ranges))
        for n in range(size)
    ]


@st.composite
def sites(draw: st.DrawFn) -> list[Place]:
    places = []
    for number in range(draw(st.integers(0, 3))):
        slots = draw(st.integers(1, 4))
        live = [
            Live(UUID(int=1000 + number * 10 + n), draw(owners), GIB)
            for n in range(draw(st.integers(0, slots)))
        ]
        memory = draw(st.integers(4, 16)) * GIB
        places.append(Place(f"cuda:{number}", "cuda", memory, slots, tuple(live)))
    return places


usages = st.dictionaries(owners, st.floats(0, 1e6))


def run(number: int, owner: UUID = ADA, waited: float = 0, **values: Any) -> Waiting:
    fields: dict[str, Any] = {"memory_bytes": GIB, **values}
    return Waiting(UUID(int=number), owner, NOON - timedelta(seconds=waited), **fields)


def place(name: str = "cuda:0", slots: int = 1, gib: int = 8, *live: Live) -> Place:
    return Place(name, "cpu" if name == "cpu" else "cuda", gib * GIB, slots, live)


def told(plan: Plan, number: int) -> str:
    reason = explain(plan, NOON)[UUID(int=number)].reason
    return str(reason["message"].format(**reason["values"]))


@given(queues(), sites(), usages)
def test_every_run_is_placed_or_told_why_not(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float]
) -> None:
    plan = choose(waiting, places, usage, NOON)
    placed = [assignment.run for assignment in plan.assignments]
    assert sorted([*placed, *explain(plan, NOON)]) == sorted(run.run for run in waiting)
    positions = [explained.position for explained in explain(plan, NOON).values()]
    assert sorted(positions) == list(range(1, len(positions) + 1))
    for assignment in plan.assignments:
        assert assignment.reason["message"].format(**assignment.reason["values"])
    for explained in explain(plan, NOON).values():
        assert explained.reason["message"].format(**explained.reason["values"])


@given(queues(), sites(), usages)
def test_no_device_holds_more_than_it_has(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float]
) -> None:
    need = {run.run: run.memory_bytes for run in waiting}
    plan = choose(waiting, places, usage, NOON)
    for each in places:
        given_to = [a.run for a in plan.assignments if a.device == each.name]
        memory = sum(live.memory_bytes for live in each.runs) + sum(need[r] for r in given_to)
        assert len(each.runs) + len(given_to) <= each.slots
        assert not given_to or memory <= each.memory_bytes


@given(queues(), sites(), usages)
def test_everybodys_first_run_comes_before_anybodys_second(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float]
) -> None:
    turns = Counter(live.owner for each in places for live in each.runs)
    ranks = []
    for run_now in Line(waiting, places, usage, NOON, Rules()):
        ranks.append(turns[run_now.owner])
        turns[run_now.owner] += 1
    assert ranks == sorted(ranks)


@given(queues(), sites(), usages, st.randoms())
def test_the_choice_does_not_depend_on_how_rows_arrive(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float], dice: random.Random
) -> None:
    shuffled = list(waiting)
    dice.shuffle(shuffled)
    first, second = (choose(queue, places, usage, NOON) for queue in (shuffled, waiting))
    assert (first.assignments, first.left) == (second.assignments, second.left)


@given(queues(), sites(), usages)
def test_something_runs_whenever_something_fits_an_empty_device(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float]
) -> None:
    plan = choose(waiting, places, usage, NOON)
    empty = [each for each in places if not each.runs]
    if any(run.memory_bytes <= each.memory_bytes for run in waiting for each in empty):
        assert plan.assignments


@given(queues(), sites(), usages)
def test_expected_starts_are_ranges_that_do_not_lie_in_the_past(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float]
) -> None:
    for explained in explain(choose(waiting, places, usage, NOON), NOON).values():
        if explained.expected_start is not None:
            early, late = explained.expected_start
            assert NOON <= early <= late


def test_the_person_with_least_use_goes_next() -> None:
    plan = choose([run(1, ADA), run(2, BOB)], [place()], {ADA: 500.0}, NOON)
    assert [a.run for a in plan.assignments] == [UUID(int=2)]


def test_waiting_counts_more_and_more() -> None:
    plan = choose([run(1, ADA, waited=6000), run(2, BOB)], [place()], {ADA: 500.0}, NOON)
    assert [a.run for a in plan.assignments] == [UUID(int=1)]


def test_a_small_run_may_pass_a_large_one_that_has_just_come() -> None:
    busy = place("cuda:0", 4, 8, Live(UUID(int=9), EVE, 4 * GIB))
    queue = [run(1, ADA, waited=10, memory_bytes=6 * GIB), run(2, BOB)]
    plan = choose(queue, [busy], {}, NOON)
    assert [a.run for a in plan.assignments] == [UUID(int=2)]
    assert told(plan, 1) == "Next in line: needs 6.0 GiB of memory; cuda:0 has 3.0 GiB free now."


def test_nobody_passes_a_large_run_that_has_waited_long() -> None:
    busy = place("cuda:0", 4, 8, Live(UUID(int=9), EVE, 4 * GIB))
    queue = [run(1, ADA, waited=600, memory_bytes=6 * GIB), run(2, BOB)]
    assert choose(queue, [busy], {}, NOON).assignments == ()


def test_a_gpu_is_filled_before_the_cpu_and_the_emptier_before_the_fuller() -> None:
    live = Live(UUID(int=9), EVE, GIB)
    places = [place("cpu", 4), place("cuda:0", 4, 8, live), place("cuda:1", 4)]
    plan = choose([run(1)], places, {}, NOON)
    assert [a.device for a in plan.assignments] == ["cuda:1"]


@pytest.mark.parametrize(
    ("places", "sentence"),
    [
        ([], "No device is active. The run starts when one is."),
        (
            [place("cuda:0", 1, 8, Live(UUID(int=9), EVE, GIB))],
            "Next in line: waits for cuda:0 to finish one of its 1 runs.",
        ),
    ],
)
def test_the_reason_is_one_plain_sentence(places: list[Place], sentence: str) -> None:
    assert told(choose([run(1)], places, {}, NOON), 1) == sentence


def test_a_second_run_learns_that_first_ones_go_before_it() -> None:
    plan = choose([run(1), run(2), run(3, BOB)], [place(slots=1)], {BOB: 1.0}, NOON)
    assert [a.run for a in plan.assignments] == [UUID(int=1)]
    assert told(plan, 3) == "Next in line: waits for cuda:0 to finish one of its 1 runs."
    expected = "Everybody's first run goes before anybody's second, and you have another. Ahead in line: 1."
    assert told(plan, 2) == expected


def test_a_run_too_large_for_all_says_so() -> None:
    plan = choose([run(1, memory_bytes=9 * GIB)], [place()], {}, NOON)
    expected = "Needs 9.0 GiB of memory; the largest active device, cuda:0, has 8.0 GiB."
    assert told(plan, 1) == expected


def test_the_expected_start_follows_from_what_runs_and_what_is_ahead() -> None:
    ends = (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    busy = place("cuda:0", 1, 8, Live(UUID(int=9), EVE, GIB, ends))
    queue = [run(1, ADA, seconds=(60.0, 120.0)), run(2, BOB)]
    plan = choose(queue, [busy], {}, NOON)
    assert explain(plan, NOON)[UUID(int=1)].expected_start == ends
    later = (NOON + timedelta(minutes=2), NOON + timedelta(minutes=4))
    assert explain(plan, NOON)[UUID(int=2)].expected_start == later
