"""Runs that are started again: at the old place once, in the shape that was chosen."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.i18n import told
from app.models import Role, Run, RunState
from app.runs.kept import latest_checkpoint
from app.runs.resubmit import PLACE_KEPT_FOR, Resubmitted, place_of, resubmit
from app.settings import get_settings
from labs.contract import Cause
from labs.published import publishing
from tests.runs.conftest import Library
from tests.support.factories import make_device, make_user

LARGE = {"steps": 40, "batch_size": 64}


def ended(library: Library, cause: Cause, params: dict[str, Any] = LARGE, **values: Any) -> Run:
    """A run that was submitted an hour's work ago and failed a minute ago."""
    run = library.submit(params=params, name="Mine")
    run.state, run.cause, run.attempt = RunState.FAILED, cause.value, 1
    run.queued_at = clock.now() - timedelta(hours=3)
    run.finished_at = clock.now() - timedelta(minutes=1)
    for name, value in values.items():
        setattr(run, name, value)
    library.session.flush()
    return run


def again(library: Library, run: Run, variant: str, key: str | None = None) -> Resubmitted:
    return resubmit(library.session, library.student, run.id, variant, key)


@pytest.mark.parametrize("cause", [Cause.OUT_OF_MEMORY, Cause.HOST_OUT_OF_MEMORY])
def test_a_run_without_enough_memory_gives_its_place_to_one_follower(
    library: Library, cause: Cause
) -> None:
    failed = ended(library, cause)
    first = again(library, failed, "half_batch")
    assert (first.run.queued_at, first.run.retry_of_id) == (failed.queued_at, failed.id)
    assert (first.run.params["batch_size"], first.run.params["gradient_accumulation"]) == (32, 2)
    second = again(library, failed, "checkpointing")
    assert second.run.queued_at > failed.queued_at
    assert second.run.retry_of_id is None
    assert "already taken by “Mine (2)”" in told(second.reason)


def test_a_place_is_kept_for_an_hour(library: Library) -> None:
    late = clock.now() - PLACE_KEPT_FOR - timedelta(seconds=1)
    failed = ended(library, Cause.OUT_OF_MEMORY, finished_at=late)
    found = again(library, failed, "half_batch")
    assert found.run.retry_of_id is None
    assert found.run.queued_at > failed.queued_at
    assert "kept for an hour" in told(found.reason)


@pytest.mark.parametrize("cause", [Cause.DIVERGED, Cause.LAB_CRASHED, Cause.CANCELLED])
def test_other_ends_keep_no_place(library: Library, cause: Cause) -> None:
    failed = ended(library, cause)
    assert place_of(library.session, failed) is None
    found = again(library, failed, "same")
    assert (found.run.retry_of_id, found.reason) == (None, None)
    assert found.run.params == failed.params
    assert found.run.seed == failed.seed


def test_the_same_with_more_memory_reserves_more(library: Library) -> None:
    failed = ended(library, Cause.OUT_OF_MEMORY, peak_memory_bytes=5 << 30)
    found = again(library, failed, "more_memory").run
    assert found.params == failed.params
    assert found.memory_bytes >= 6 << 30
    assert found.estimate["memory_bytes"] == found.memory_bytes


@pytest.mark.parametrize(("variant", "rate"), [("rate_3", 0.1), ("rate_10", 0.03)])
def test_a_diverged_run_is_offered_calmer_ones(library: Library, variant: str, rate: float) -> None:
    wild = {"steps": 10, "learning_rate": 0.3, "gradient_clipping": 1000.0}
    failed = ended(library, Cause.DIVERGED, wild)
    assert again(library, failed, variant).run.params["learning_rate"] == rate
    assert again(library, failed, "clip").run.params["gradient_clipping"] == 1.0


def test_pressing_twice_starts_one_run(library: Library) -> None:
    failed = ended(library, Cause.OUT_OF_MEMORY)
    first = again(library, failed, "half_batch", "pressed").run
    assert again(library, failed, "half_batch", "pressed").run.id == first.id


def test_a_run_goes_on_from_its_checkpoint(library: Library) -> None:
    failed = ended(library, Cause.TIME_LIMIT)
    with pytest.raises(Conflict):
        again(library, failed, "continue")
    checkpoint(failed.id, 10)
    checkpoint(failed.id, 20)
    found = again(library, failed, "continue").run
    step, folder = latest_checkpoint(found.id) or (None, None)
    assert step == 20
    assert folder is not None
    assert (folder / "weights").read_text() == "step 20"
    assert found.params == failed.params


def test_it_does_not_go_on_with_other_code(library: Library) -> None:
    failed = ended(library, Cause.TIME_LIMIT, code_version="older")
    checkpoint(failed.id, 10)
    with pytest.raises(InvalidInput):
        again(library, failed, "continue")


def test_fewer_steps_end_within_the_time(library: Library) -> None:
    failed = ended(
        library, Cause.TIME_LIMIT, stage="train", progress_done=20.0, progress_total=40.0
    )
    assert again(library, failed, "fewer_steps").run.params["steps"] == 18


def test_only_an_ended_run_of_ones_own_is_started_again(library: Library) -> None:
    failed = ended(library, Cause.DIVERGED)
    with pytest.raises(NotFound):
        resubmit(library.session, make_user(library.session), failed.id, "same")
    with pytest.raises(InvalidInput):
        again(library, failed, "no such variant")
    waiting = library.submit()
    with pytest.raises(Conflict):
        again(library, waiting, "same")


def test_an_instructor_may_not_start_a_students_run_again(library: Library) -> None:
    admin = make_user(library.session, role=Role.ADMIN)
    with pytest.raises(Forbidden):
        resubmit(library.session, admin, ended(library, Cause.DIVERGED).id, "same")


def test_what_fits_nowhere_is_refused_and_the_place_stays(library: Library) -> None:
    make_device(library.session, "cpu", memory_bytes=1 << 30)
    failed = ended(library, Cause.OUT_OF_MEMORY, peak_memory_bytes=5 << 30)
    with library.session.begin_nested(), pytest.raises(InvalidInput):
        again(library, failed, "more_memory")
    found = place_of(library.session, failed)
    assert found is not None
    assert found.is_kept


def test_names_count_on(library: Library) -> None:
    failed = ended(library, Cause.DIVERGED)
    for name in ("Mine (2)", "Mine (3)"):
        failed = again(library, failed, "same").run
        assert failed.name == name
        failed.state = RunState.FAILED
    long = ended(library, Cause.DIVERGED, name="x" * 120)
    assert again(library, long, "same").run.name == "x" * 116 + " (2)"


def checkpoint(run_id: UUID, step: int) -> None:
    folder = get_settings().run_dir(run_id) / "checkpoints" / f"step-{step:08d}"
    facts = {"name": folder.name, "kind": "checkpoint", "step": step, "attempt": 1}
    with publishing(folder, facts) as beside:
        (beside / "weights").write_text(f"step {step}")
