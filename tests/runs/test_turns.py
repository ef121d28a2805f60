"""The order of turns: laws that hold for every queue."""

import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.runs.places import LabSession, Place, Rules, Waiting
from app.runs.turns import AGE_WEIGHT, Line, Numbered, terms
from tests.runs.queues import (
    ADA,
    BOB,
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

HOUR = LabSession(timedelta(minutes=5), NOON + timedelta(hours=1))


def order(waiting: list[Waiting], places: list[Place], rules: Rules | None = None) -> list[int]:
    return [each.run.int for each in Line(waiting, places, {}, NOON, rules or Rules())]


@law
@given(queues(), sites(), usages, rules)
def test_the_line_is_sorted_by_its_terms(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float], rules: Rules
) -> None:
    told = terms(waiting, places, usage, NOON, rules)
    keys = [(not t.session, not t.boosted, t.turn, t.debt, t.queued_at, t.run) for t in told]
    assert keys == sorted(keys)
    assert [t.rank for t in told] == list(range(1, len(waiting) + 1))
    assert sorted(t.run for t in told) == sorted(each.run for each in waiting)
    for each in told:
        assert each.age_credit == AGE_WEIGHT * each.age
        assert each.used == usage.get(each.owner, 0.0)


@law
@given(queues(), sites(), usages, rules)
def test_turns_count_what_is_on_devices_and_what_is_ahead(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float], rules: Rules
) -> None:
    before = Counter(each.owner for place in places for each in place.runs)
    for each in terms(waiting, places, usage, NOON, rules):
        assert each.turn == before[each.owner]
        before[each.owner] += 1


@law
@given(queues(), sites(), usages, st.randoms())
def test_the_order_does_not_depend_on_how_rows_arrive(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float], dice: random.Random
) -> None:
    shuffled = list(waiting)
    dice.shuffle(shuffled)
    first, second = (list(Line(q, places, usage, NOON, Rules())) for q in (shuffled, waiting))
    assert first == second


@law
@given(queues(), sites(), usages, rules, st.integers(0, 10))
def test_passing_by_the_unwanted_leaves_the_order_of_the_rest(
    waiting: list[Waiting], places: list[Place], usage: dict[UUID, float], rules: Rules, gib: int
) -> None:
    line = Line(waiting, places, usage, NOON, rules)

    def is_small(run: Waiting) -> bool:
        return run.memory_bytes <= gib << 30

    def sieve(numbered: Numbered) -> Numbered:
        return ((turn, run) for turn, run in numbered if is_small(run))

    assert list(line.keyed(sieve)) == [(key, r) for key, r in line.keyed() if is_small(r)]


def test_a_lab_session_comes_before_a_boost_and_a_boost_before_all_others() -> None:
    waiting = [
        run(1, ADA, waited=9000),
        run(2, ADA, boosted=True, classroom=PHYSICS),
        run(3, ADA, classroom=MATHS),
    ]
    assert order(waiting, [place()], Rules(sessions={MATHS: HOUR})) == [3, 2, 1]


def test_within_a_session_everybodys_first_still_goes_before_anybodys_second() -> None:
    waiting = [run(n, ADA, waited=100 - n, classroom=MATHS) for n in (1, 2)]
    waiting.append(run(3, BOB, classroom=MATHS))
    assert order(waiting, [place()], Rules(sessions={MATHS: HOUR})) == [1, 3, 2]


def test_a_boost_moves_one_run_not_its_owners_others() -> None:
    waiting = [run(1, ADA, waited=50), run(2, ADA, boosted=True), run(3, BOB)]
    assert order(waiting, [place()]) == [2, 3, 1]


def test_what_is_on_a_device_counts_as_a_turn_even_if_the_device_is_paused() -> None:
    paused = Place("cuda:1", "cuda", 1 << 30, 1, (live(9, ADA),), is_open=False)
    assert order([run(1, ADA, waited=500), run(2, BOB)], [place(), paused]) == [2, 1]
