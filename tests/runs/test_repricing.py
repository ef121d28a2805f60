"""The time of waiting runs follows what runs like them take today."""

from datetime import timedelta

import pytest

from app import clock
from app.database import commit
from app.models import Run, RunState
from app.runs.repricing import FRONT, reprice
from tests.runs.conftest import Library


def finished(library: Library, seconds: float) -> None:
    """A run that was sent as usual and took so long."""
    run = library.submit()
    run.state, run.attempt, run.finished_at = RunState.SUCCEEDED, 1, clock.now()
    run.started_at = run.finished_at - timedelta(seconds=seconds)
    run.position = None
    library.session.flush()


def seconds_of(library: Library, run: Run) -> tuple[float | None, float | None]:
    library.session.expire_all()
    found = library.session.get_one(Run, run.id)
    return found.seconds_low, found.seconds_high


def waiting(library: Library) -> Run:
    run = library.submit()
    commit(library.session)
    return run


def test_waiting_runs_learn_from_those_that_ended_since(library: Library) -> None:
    run = waiting(library)
    low, high = run.estimate["predicted_seconds"]
    for _ in range(3):
        finished(library, 2 * (low + high) / 2)
    commit(library.session)
    assert reprice() == 1
    assert seconds_of(library, run) == pytest.approx((2 * low, 2 * high), rel=1e-3)
    assert run.estimate["seconds"] == pytest.approx([low, high])  # what was told stays
    assert reprice() == 0


def test_nothing_moves_without_news_or_far_from_the_front(library: Library) -> None:
    near, far = waiting(library), waiting(library)
    low, high = near.estimate["predicted_seconds"]
    finished(library, 1.05 * (low + high) / 2)
    commit(library.session)
    assert reprice() == 0
    finished(library, 3 * (low + high) / 2)
    finished(library, 3 * (low + high) / 2)
    commit(library.session)  # after which the dispatcher numbers the line anew
    far.position = FRONT + 1
    commit(library.session)
    assert reprice() == 1
    assert seconds_of(library, far) == pytest.approx((low, high))
    assert seconds_of(library, near) == pytest.approx((3 * low, 3 * high), rel=1e-3)


def test_what_is_unknown_stays_unknown(library: Library) -> None:
    run = waiting(library)
    run.seconds_low = run.seconds_high = None
    finished(library, 1000.0)
    commit(library.session)
    assert reprice() == 0
    assert seconds_of(library, run) == (None, None)
