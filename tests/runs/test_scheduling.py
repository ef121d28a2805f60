"""What goes where: laws that hold for every queue, and the sentences for what waits on."""

import random
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.i18n import sentence
from app.runs.places import LabSession, Live, Place, Rules, Waiting
from app.runs.scheduling import PATIENCE, Plan, choose, explain
from tests.runs.queues import (
    ADA,
    BOB,
    EVE,
    GIB,
    MATHS,
    NOON,
    PHYSICS,
    law,
    live,
    place,
    queues,
    rules,
    run,
    sites,
    usages,
)

Usage = dict[UUID, float]
GOES_ON = LabSession(timedelta(minutes=5), NOON + timedelta(minutes=90))


def told(plan: Plan, number: int, rules: Rules | None = None) -> str:
    reason = explain(plan, NOON, rules)[UUID(int=number)].reason
    return sentence(reason["message"], reason["values"])


def placed(plan: Plan) -> list[int]:
    return [assignment.run.int for assignment in plan.assignments]


@law
@given(queues(), sites(), usages, rules)
def test_every_run_is_placed_or_told_why_not(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules
) -> None:
    plan = choose(waiting, places, usage, NOON, rules)
    explained = explain(plan, NOON, rules)
    assert sorted([*(a.run for a in plan.assignments), *explained]) == sorted(
        run.run for run in waiting
    )
    assert [each.position for each in explained.values()] == list(range(1, len(explained) + 1))
    assert list(explained) == [run.run for run in plan.left]
    reasons = [each.reason for each in plan.assignments]
    for reason in reasons + [each.reason for each in explained.values()]:
        assert reason["message"].format(**reason["values"])


@law
@given(queues(), sites(), usages, rules)
def test_no_device_holds_more_than_it_has(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules
) -> None:
    plan = choose(waiting, places, usage, NOON, rules)
    given_to = {assignment.device for assignment in plan.assignments}
    pools: dict[str, list[Place]] = {}
    for each in plan.places:
        pools.setdefault(each.pool or each.name, []).append(each)
        assert each.name not in given_to or (each.is_open and len(each.runs) <= each.slots)
    for sharing in pools.values():
        memory = sum(live.memory_bytes for place in sharing for live in place.runs)
        touched = any(place.name in given_to for place in sharing)
        assert not touched or memory <= max(place.memory_bytes for place in sharing)


@law
@given(queues(), sites(), usages, rules)
def test_nobody_is_given_more_than_the_limits_allow(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules
) -> None:
    plan = choose(waiting, places, usage, NOON, rules)
    new = {assignment.run for assignment in plan.assignments}
    on_devices = [live for place in plan.places for live in place.runs]
    people = Counter((live.owner, live.classroom) for live in on_devices)
    classes = Counter(live.classroom for live in on_devices)
    for each in on_devices:
        if each.run in new:
            person = rules.running_per_person.get(each.classroom)
            of_class = rules.running_per_class.get(each.classroom) if each.classroom else None
            assert person is None or people[each.owner, each.classroom] <= person
            assert of_class is None or classes[each.classroom] <= of_class


@law
@given(queues(), sites(), usages)
def test_no_slot_stays_empty_while_a_run_fits_and_nothing_is_kept(
    waiting: list[Waiting], places: list[Place], usage: Usage
) -> None:
    fresh = [each._replace(queued_at=NOON) for each in waiting]
    plan = choose(fresh, places, usage, NOON)
    assert plan.kept == {}
    taken: Counter[str] = Counter()
    for each in plan.places:
        taken[each.pool or each.name] += sum(live.memory_bytes for live in each.runs)
    total = {
        p.pool or p.name: max(q.memory_bytes for q in places if (q.pool or q.name) == (p.pool or p.name))
        for p in places
    }  # fmt: skip
    for each in plan.places:
        pool = each.pool or each.name
        if each.is_open and len(each.runs) < each.slots:
            assert all(run.memory_bytes > total[pool] - taken[pool] for run in plan.left)


@law
@given(queues(), sites(), usages)
def test_nobody_is_passed_by_a_run_that_would_fit_where_it_went(
    waiting: list[Waiting], places: list[Place], usage: Usage
) -> None:
    """Of two runs of equal need and duration, the one whose turn is first is never left."""
    plan = choose(waiting, places, usage, NOON)
    gone = {assignment.run for assignment in plan.assignments}
    passed: list[Waiting] = []
    for each in plan.line:
        if each.run not in gone:
            passed.append(each)
            continue
        assert not any(
            before.memory_bytes <= each.memory_bytes and before.seconds == each.seconds
            for before in passed
        )


@law
@given(queues(), sites(), usages, rules, st.randoms())
def test_the_choice_does_not_depend_on_how_rows_arrive(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules, dice: random.Random
) -> None:
    shuffled = list(waiting)
    dice.shuffle(shuffled)
    first, second = (choose(queue, places, usage, NOON, rules) for queue in (shuffled, waiting))
    assert (first.assignments, first.left) == (second.assignments, second.left)


short = st.tuples(st.floats(0, 600), st.floats(0, 600)).map(lambda p: (min(p), max(p)))


@st.composite
def crowded(draw: st.DrawFn) -> tuple[Waiting, list[Waiting], Place]:
    """A large run that has waited long, small ones behind it, and a device that is partly free."""
    lives = []
    for number in range(draw(st.integers(1, 2))):
        ends = [NOON + timedelta(seconds=each) for each in draw(short)]
        memory = draw(st.integers(1, 3)) * GIB
        lives.append(live(900 + number, EVE, memory_bytes=memory, ends=(ends[0], ends[1])))
    large = run(1, ADA, waited=9000, memory_bytes=draw(st.integers(8, 10)) * GIB)
    small = [
        run(n, UUID(int=50 + n), memory_bytes=draw(st.integers(1, 3)) * GIB, seconds=draw(short))
        for n in range(2, draw(st.integers(3, 8)))
    ]
    return large, small, place("cuda:0", draw(st.integers(2, 5)), 10, *lives)


@law
@given(crowded())
def test_who_passes_a_large_run_by_is_gone_before_it_could_start(
    crowd: tuple[Waiting, list[Waiting], Place],
) -> None:
    """Though all that runs may end at its earliest, and what came by at its latest."""
    large, small, device = crowd
    plan = choose([large, *small], [device], {}, NOON)
    if UUID(int=1) not in {assignment.run for assignment in plan.assignments}:
        (after,) = plan.places
        assert soonest(after, after.runs, large) == soonest(device, device.runs, large)


def soonest(place: Place, runs: Any, large: Waiting) -> float:
    """When it fits if all end as early as they may, but those that came by as late as they may."""
    known: list[Live] = list(runs)
    for moment in sorted({0.0, *(end_of(each) for each in known)}):
        staying = [each for each in known if end_of(each) > moment]
        memory = place.memory_bytes - sum(each.memory_bytes for each in staying)
        if memory >= large.memory_bytes and len(staying) < place.slots:
            return moment
    raise AssertionError("it never fits")


def end_of(each: Live) -> float:
    if each.ends is None:
        return 0.0
    came_now = each.since == NOON
    return max(0.0, (each.ends[1 if came_now else 0] - NOON).total_seconds())


def test_the_person_with_least_use_goes_next() -> None:
    assert placed(choose([run(1, ADA), run(2, BOB)], [place()], {ADA: 500.0}, NOON)) == [2]


def test_waiting_counts_more_and_more() -> None:
    queue = [run(1, ADA, waited=6000), run(2, BOB)]
    assert placed(choose(queue, [place()], {ADA: 500.0}, NOON)) == [1]


def test_a_small_run_may_pass_a_large_one_that_has_just_come() -> None:
    busy = place("cuda:0", 4, 8, live(9, EVE, memory_bytes=4 * GIB))
    plan = choose([run(1, ADA, waited=10, memory_bytes=6 * GIB), run(2, BOB)], [busy], {}, NOON)
    assert placed(plan) == [2]
    assert told(plan, 1) == "Next in line: needs 6.0 GiB of memory; cuda:0 has 3.0 GiB free now."


def test_nobody_passes_a_large_run_that_has_waited_long() -> None:
    busy = place("cuda:0", 4, 8, live(9, EVE, memory_bytes=4 * GIB))
    queue = [run(1, ADA, waited=600, memory_bytes=6 * GIB), run(2, BOB)]
    plan = choose(queue, [busy], {}, NOON)
    assert placed(plan) == []
    expected = "cuda:0 has room, but it is kept for a larger run that has waited long."
    assert told(plan, 2) == expected


@pytest.mark.parametrize(("seconds", "goes"), [((10.0, 50.0), True), ((10.0, 70.0), False)])
def test_a_short_run_may_use_a_kept_device_until_the_large_one_could_start(
    seconds: tuple[float, float], goes: bool
) -> None:
    ends = (NOON + timedelta(seconds=60), NOON + timedelta(seconds=90))
    busy = place("cuda:0", 4, 8, live(9, EVE, memory_bytes=4 * GIB, ends=ends))
    large = run(1, ADA, waited=PATIENCE.total_seconds(), memory_bytes=6 * GIB)
    plan = choose([large, run(2, BOB, seconds=seconds)], [busy], {}, NOON)
    assert placed(plan) == ([2] if goes else [])
    assert plan.kept == {"cuda:0": UUID(int=1)}


def test_a_gpu_is_filled_before_the_cpu_and_the_emptier_before_the_fuller() -> None:
    places = [place("cpu", 4), place("cuda:0", 4, 8, live(9)), place("cuda:1", 4)]
    assert [a.device for a in choose([run(1)], places, {}, NOON).assignments] == ["cuda:1"]


def test_devices_of_one_host_share_its_memory() -> None:
    places = [Place(f"cpu-{n}", "cpu", 8 * GIB, 4, pool="host") for n in (1, 2)]
    queue = [run(n, owner, memory_bytes=5 * GIB) for n, owner in ((1, ADA), (2, BOB))]
    assert placed(choose(queue, places, {}, NOON)) == [1]


def test_what_runs_on_a_paused_device_still_takes_memory_of_the_host() -> None:
    paused = Place("cpu-1", "cpu", 8 * GIB, 4, (live(9, memory_bytes=5 * GIB),), "host", False)
    places = [paused, Place("cpu-2", "cpu", 8 * GIB, 4, pool="host")]
    assert placed(choose([run(1, memory_bytes=4 * GIB)], places, {}, NOON)) == []


def test_a_limit_holds_one_person_back_and_nobody_behind() -> None:
    rules = Rules(running_per_person={MATHS: 1})
    queue = [run(n, ADA, waited=60, classroom=MATHS) for n in (1, 2)]
    queue.append(run(3, BOB, classroom=MATHS))
    plan = choose(queue, [place(slots=4)], {}, NOON, rules)
    assert placed(plan) == [1, 3]
    expected = "At most 1 of your runs may be on devices at a time, and as many are there"
    assert told(plan, 2, rules).startswith(expected)


def test_a_class_at_its_limit_learns_so() -> None:
    rules = Rules(running_per_class={MATHS: 1})
    queue = [run(1, ADA, classroom=MATHS), run(2, BOB, classroom=MATHS), run(3, EVE)]
    plan = choose(queue, [place(slots=4)], {}, NOON, rules)
    assert sorted(placed(plan)) == [1, 3]
    expected = "At most 1 of your class's runs may be on devices at a time, and as many are"
    assert told(plan, 2, rules).startswith(expected)


def test_a_run_behind_as_many_of_its_owner_as_may_run_learns_of_the_limit() -> None:
    rules = Rules(running_per_person={None: 1})
    queue = [run(1, ADA, waited=60), run(2, ADA), run(3, BOB)]
    plan = choose(queue, [place("cuda:0", 1, 8, live(9))], {}, NOON, rules)
    assert told(plan, 1, rules).startswith("Next in line")
    assert told(plan, 2, rules).startswith("At most 1 of your runs")
    assert told(plan, 3, rules) == "Ahead in line: 1."


@law
@given(queues(), sites(), usages, rules)
def test_of_nobody_more_runs_than_may_run_wait_for_something_else(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules
) -> None:
    """Whoever is told to wait for anything but a limit would break none by starting."""
    plan = choose(waiting, places, usage, NOON, rules)
    told = explain(plan, NOON, rules)
    able = [
        run
        for run in plan.left
        if not told[run.run].reason["message"].startswith(("At most", "Needs", "No device"))
    ]
    live = [live for place in plan.places for live in place.runs]
    people = Counter((each.owner, each.classroom) for each in [*live, *able])
    for each in able:
        most = rules.running_per_person.get(each.classroom)
        assert most is None or people[each.owner, each.classroom] <= most


@pytest.mark.parametrize(
    ("places", "sentence"),
    [
        ([], "No device is active. The run starts when one is."),
        (
            [Place("cuda:0", "cuda", 8 * GIB, 1, is_open=False)],
            "No device is active. The run starts when one is.",
        ),
        (
            [place("cuda:0", 1, 8, live(9))],
            "Next in line: waits for cuda:0 to finish one of its 1 runs.",
        ),
        (
            [place("cuda:0", 1, 8, live(9, is_asked=True))],
            "Next in line: a run on cuda:0 saves its work to make room.",
        ),
    ],
)
def test_the_reason_is_one_plain_sentence(places: list[Place], sentence: str) -> None:
    assert told(choose([run(1)], places, {}, NOON), 1) == sentence


def test_a_second_run_learns_that_first_ones_go_before_it() -> None:
    plan = choose([run(1), run(2), run(3, BOB)], [place(slots=1)], {BOB: 1.0}, NOON)
    assert placed(plan) == [1]
    assert told(plan, 3) == "Next in line: waits for cuda:0 to finish one of its 1 runs."
    expected = "Everybody's first run goes before anybody's second, and this is not the first of its owner. Ahead in line: 1."
    assert told(plan, 2) == expected


def test_others_learn_of_a_lab_session_and_its_end() -> None:
    rules = Rules(sessions={MATHS: GOES_ON})
    queue = [run(1, ADA, waited=900, classroom=PHYSICS), run(2, BOB, classroom=MATHS)]
    plan = choose(queue, [place("cuda:0", 1, 8, live(9))], {}, NOON, rules)
    expected = "A lab session of another class goes on until 13:30 UTC. Ahead in line: 1."
    assert told(plan, 1, rules) == expected


def test_a_run_too_large_for_all_says_so() -> None:
    plan = choose([run(1, memory_bytes=9 * GIB)], [place()], {}, NOON)
    expected = "Needs 9.0 GiB of memory; the largest active device, cuda:0, has 8.0 GiB."
    assert told(plan, 1) == expected


def test_one_reason_may_stand_for_all() -> None:
    plan = choose([run(1), run(2, BOB)], [], {}, NOON)
    reason = {"message": "Closed.", "values": {}}
    explained = explain(plan, NOON, instead=reason).values()
    assert [(each.reason, each.expected_start) for each in explained] == [(reason, None)] * 2


@law
@given(queues(), sites(), usages, rules, st.integers(1, 4))
def test_placing_a_few_at_a_time_begins_as_placing_all(
    waiting: list[Waiting], places: list[Place], usage: Usage, rules: Rules, most: int
) -> None:
    whole = choose(waiting, places, usage, NOON, rules)
    part = choose(waiting, places, usage, NOON, rules, most=most)
    assert part.assignments == whole.assignments[:most]
