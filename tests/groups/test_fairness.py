"""Nothing is gained by a sweep: the line is the same as for runs that were sent one by one."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select

from app import clock
from app.groups.start import start_group
from app.models import GroupKind, Run, RunState, User
from app.runs.dispatch import decide, read_world
from app.runs.submit import submit
from tests.runs.conftest import Library
from tests.support.factories import make_attempt, make_run, make_user


def line(library: Library) -> list[tuple[str, str]]:
    """Everybody who waits, in the order of their turns."""
    library.session.flush()
    now = clock.now()
    plan = decide(read_world(library.session, now), now).plan
    runs = {run.id: run for run in library.session.scalars(select(Run))}
    return [(str(runs[each.run].owner_id), runs[each.run].name) for each in plan.front(100)]


def send(library: Library, person: User, names: Sequence[str], together: bool) -> None:
    sent = [library.submission(name=name, seed=1) for name in names]
    if together:
        start_group(library.session, person, GroupKind.SWEEP, "s", "lora", {}, sent)
        return
    for each in sent:
        submit(library.session, person, each)


def clear(library: Library) -> None:
    for run in library.session.scalars(select(Run).where(Run.state == RunState.QUEUED)):
        run.state = RunState.CANCELLED
    library.session.flush()


@pytest.mark.parametrize("used", [(0, 0), (600, 0), (0, 600)])
def test_the_line_is_the_same_for_a_sweep_and_for_single_runs(
    library: Library, used: tuple[int, int]
) -> None:
    people = [library.student, make_user(library.session)]
    for person, seconds in zip(people, used, strict=True):
        use(library, person, seconds)
    lines = []
    for together in (True, False):
        send(library, people[0], [f"a{place}" for place in range(5)], together)
        send(library, people[1], ["b0", "b1"], False)
        lines.append(line(library))
        clear(library)
    assert lines[0] == lines[1]
    # Everybody's first comes before anybody's second, however many came in one sweep.
    assert {owner for owner, _name in lines[0][:2]} == {str(person.id) for person in people}


def use(library: Library, person: User, seconds: int) -> None:
    if not seconds:
        return
    ended = clock.now() - timedelta(minutes=1)
    run = make_run(library.session, person, state=RunState.SUCCEEDED, attempt=1)
    make_attempt(
        library.session, run, started_at=ended - timedelta(seconds=seconds), finished_at=ended,
        device_seconds=float(seconds),
    )  # fmt: skip
