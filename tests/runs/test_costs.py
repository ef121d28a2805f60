"""What a run is reserved: predicted, corrected by what was measured, and a margin."""

from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import clock
from app.models import Run, RunState
from app.runs import costs
from app.runs.costs import LARGEST_CORRECTION, SMALLEST_CORRECTION, margin
from labs.contract import Cause
from tests.runs.conftest import Library
from tests.support.factories import make_device, make_run

GIB = 1 << 30


def finish(library: Library, peak: int | None, **values: Any) -> Run:
    """A run that was submitted as usual and has ended."""
    run = library.submit()
    for name, value in {"state": RunState.SUCCEEDED, "attempt": 1, **values}.items():
        setattr(run, name, value)
    run.peak_memory_bytes, run.finished_at = peak, clock.now()
    library.session.flush()
    return run


def predicted(library: Library) -> dict[str, Any]:
    return library.submit().estimate


def test_the_reservation_is_the_need_and_a_margin_and_is_what_the_scheduler_reads(
    library: Library,
) -> None:
    run = library.submit()
    told = run.estimate
    assert told["corrected_bytes"] == told["predicted_bytes"] == sum(told["parts"].values())
    assert told["memory_bytes"] == told["corrected_bytes"] + margin(told["corrected_bytes"])
    assert told["margin_bytes"] == margin(told["corrected_bytes"])
    assert run.memory_bytes == told["memory_bytes"]


@pytest.mark.parametrize("factors", [[1.5], [0.8, 1.2, 3.0], [100.0], [0.001]])
def test_measured_peaks_correct_the_next_estimate(library: Library, factors: list[float]) -> None:
    first = predicted(library)["predicted_bytes"]
    for factor in factors:
        finish(library, int(first * factor))
    told = predicted(library)
    wanted = min(LARGEST_CORRECTION, max(SMALLEST_CORRECTION, median(factors)))
    assert told["corrected_bytes"] == pytest.approx(first * wanted, rel=1e-3)
    assert told["predicted_bytes"] == first
    assert told["measured_runs"] == len(factors)


def test_peaks_of_other_formulas_devices_models_and_taken_results_teach_nothing(
    library: Library,
) -> None:
    first = predicted(library)["predicted_bytes"]
    stored = library.submit().estimate
    finish(library, first * 3, estimate={**stored, "formula": 0})
    finish(library, first * 3, estimate={**stored, "device_kind": "cuda"})
    finish(library, first * 3, same_as_id=finish(library, None).id)
    make_run(library.session, state=RunState.SUCCEEDED, attempt=1, peak_memory_bytes=first * 3)
    assert predicted(library)["corrected_bytes"] == first


@pytest.mark.parametrize("cause", sorted(costs.MEMORY_CAUSES))
def test_what_a_failed_run_had_was_not_enough(library: Library, cause: Cause) -> None:
    failed = finish(library, None, state=RunState.FAILED, cause=cause.value)
    again = library.submit()
    assert again.memory_bytes > failed.memory_bytes
    assert again.estimate["corrected_bytes"] >= failed.memory_bytes
    other = library.submit(params={"steps": 10, "rank": 4})
    assert other.memory_bytes < again.memory_bytes
    # What does not change the memory does not make it another configuration.
    same = library.submit(params={"steps": 20, "learning_rate": 0.1})
    assert same.memory_bytes == again.memory_bytes


def test_more_can_be_reserved_but_not_less(library: Library) -> None:
    usual = library.submit().memory_bytes
    assert library.submit(reserve_bytes=usual + 1).memory_bytes == usual + 1
    assert library.submit(reserve_bytes=1).memory_bytes == usual


@settings(deadline=None)
@given(st.integers(0, 1 << 45))
def test_a_margin_grows_with_the_need(need: int) -> None:
    assert 0 < margin(need) <= margin(need + 1)


def test_what_live_runs_reserve_is_not_free(library: Library) -> None:
    session = library.session
    device = make_device(session, "cpu", memory_bytes=8 * GIB)
    for state in (RunState.RUNNING, RunState.ASSIGNED, RunState.SUCCEEDED, RunState.QUEUED):
        make_run(session, state=state, device="cpu", estimate={"memory_bytes": GIB})
    assert costs.free_bytes(session, [device]) == {"cpu": 6 * GIB}
