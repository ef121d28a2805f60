"""Fair shares over an afternoon: nobody starves, and nobody gains by how they cut their work."""

from collections import defaultdict
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs.queues import GIB, Box, Job, place

HOUR = 3600.0
afternoon = settings(deadline=None, max_examples=12)
ME = UUID(int=1)


def crowd(
    people: int, seconds: float, count: int, memory: int = GIB, first: int = 1000
) -> list[Job]:
    """So many runs of each of so many people, all there from the start."""
    return [
        Job(UUID(int=first + person * 1000 + n), UUID(int=10 + person), 0.0, seconds, memory)
        for n in range(count)
        for person in range(people)
    ]


@afternoon
@given(st.integers(1, 6), st.floats(60, 900), st.floats(15, 60), st.integers(1, 8))
def test_nobody_starves_whatever_the_others_send(
    people: int, seconds: float, gap: float, gib: int
) -> None:
    """Others send small runs all the time; a large one, for which a device must clear, starts."""
    stream = [
        Job(UUID(int=1000 + n), UUID(int=10 + n % people), n * gap, seconds) for n in range(80)
    ]
    mine = Job(UUID(int=1), ME, 60.0, 600.0, gib * GIB)
    box = Box([*stream, mine], [place("cuda:0", 2, 8), place("cuda:1", 2, 8)])
    box.work(until=HOUR)
    # Its patience, one turn of the simulated clock, and then what is on the device.
    assert mine.starts
    assert mine.starts[0] - mine.at <= 120 + 60 + 2 * seconds


def test_who_used_much_waits_but_not_for_ever() -> None:
    """A stream of people who never used anything cannot keep a heavy user out for good."""
    heavy = [Job(UUID(int=n), ME, 0.0, 900.0) for n in (1, 2)]
    stream = [Job(UUID(int=100 + n), UUID(int=100 + n), n * 100.0, 105.0) for n in range(150)]
    Box([*heavy, *stream], [place("cuda:0", 1, 8)]).work(until=150 * 100.0, tick=600.0)
    assert all(job.starts for job in heavy)


@afternoon
@given(st.integers(2, 6), st.integers(2, 4), st.integers(1, 3))
def test_cutting_a_job_into_many_brings_no_larger_share(
    parts: int, people: int, slots: int
) -> None:
    """While others want as much as they can get, it is the share that is fixed, not the count."""
    others = crowd(people, 600.0, 8)
    mine = [Job(UUID(int=1 + n), ME, 0.0, 600.0 / parts) for n in range(8 * parts)]
    box = Box([*others, *mine], [place("cuda:0", slots, 64)]).work(until=HOUR, tick=600.0)
    received = box.served
    fair = HOUR * slots / (people + 1)
    most = max(seconds for owner, seconds in received.items() if owner != ME)
    assert received[ME] <= max(fair, most) + 600.0


@afternoon
@given(st.integers(1, 4), st.integers(1, 30), st.integers(2, 8))
def test_twenty_runs_of_one_person_do_not_delay_the_first_of_another(
    slots: int, flood: int, people: int
) -> None:
    mine = [Job(UUID(int=1 + n), ME, 0.0, 300.0) for n in range(flood)]
    others = crowd(people, 300.0, 1)
    Box([*mine, *others], [place("cuda:0", slots, 64)]).work()
    started = defaultdict(list)
    for job in [*mine, *others]:
        started[job.owner].append(job.starts[0])
    firsts = sorted(min(starts) for starts in started.values())
    rounds = (people + 1 + slots - 1) // slots
    assert firsts[-1] <= (rounds - 1) * 300.0 + 1
    seconds = [sorted(starts)[1] for starts in started.values() if len(starts) > 1]
    assert not seconds or min(seconds) >= firsts[-1] - 300.0
