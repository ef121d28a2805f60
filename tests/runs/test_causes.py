"""Every end has a name, a sentence, what was kept, and a next step."""

from typing import Any

import pytest

from app import clock
from app.metrics.store import latest
from app.models import Role, Run, RunState, User
from app.runs import queries
from app.runs.attempts import BLAMELESS
from app.runs.causes import CAUSES, NEVER_STARTED, Step
from app.runs.coach import asked_bytes, coach_of
from app.runs.ending import Ending, ending_of
from app.runs.lifecycle import SAME_CAUSE_LIMIT
from app.runs.next_steps import MAKERS
from app.runs.views import RunPage, run_page
from labs.contract import Cause
from tests.runs.conftest import Library
from tests.runs.test_resubmit import checkpoint
from tests.support.factories import make_attempt, make_classroom, make_device, make_user

MIB = 1 << 20


def ended(library: Library, cause: Cause, state: RunState = RunState.FAILED, **values: Any) -> Run:
    params = values.pop("params", {"steps": 40, "batch_size": 64})
    run = library.submit(params=params)
    run.state, run.cause, run.attempt = state, cause.value, 1
    run.finished_at = clock.now() if state.is_over else None
    for name, value in values.items():
        setattr(run, name, value)
    make_attempt(library.session, run, cause=cause.value, started_at=clock.now())
    library.session.flush()
    return queries.get_run(library.session, library.student, run.id)


def ending(library: Library, run: Run, actor: User | None = None) -> Ending:
    session = library.session
    found = ending_of(
        session,
        actor or library.student,
        run,
        queries.attempts(session, run.id),
        queries.artifacts(session, run.id),
        latest(session, [run.id])[run.id],
    )
    assert found is not None
    return found


def page(library: Library, run: Run) -> RunPage:
    session = library.session
    return run_page(session, library.student, queries.get_run(session, library.student, run.id))


def test_every_cause_is_explained_and_every_step_can_be_made() -> None:
    assert set(CAUSES) == set(Cause)
    assert set(MAKERS) == set(Step)
    titles = [each.title for each in CAUSES.values()]
    assert len(set(titles)) == len(titles)
    assert all(each.advice and each.steps for each in CAUSES.values())
    assert all(CAUSES[cause].retried for cause in BLAMELESS)


@pytest.mark.parametrize("cause", sorted(Cause))
def test_every_failure_offers_its_owner_something_to_press(library: Library, cause: Cause) -> None:
    found = ending(library, ended(library, cause))
    assert found.cause is cause
    assert found.next
    for each in found.next:
        assert each.title.format(**each.values)
        assert each.href.startswith("/")
        assert (each.method == "post") == bool(each.fields)
    shape = found.as_json()
    assert {"title", "advice", "kept", "retried", "retry", "next"} <= set(shape)
    assert all(each["href"].startswith("/api/v1/") for each in shape["next"] if each["body"])


@pytest.mark.parametrize("cause", sorted(Cause))
def test_others_may_change_a_copy_but_start_nothing(library: Library, cause: Cause) -> None:
    admin = make_user(library.session, role=Role.ADMIN)
    found = ending(library, ended(library, cause), admin)
    assert all(each.method == "get" for each in found.next)


def test_a_held_run_is_released_by_instructors_alone(library: Library) -> None:
    maria = make_user(library.session, role=Role.INSTRUCTOR)
    make_classroom(library.session, maria, library.student)
    run = ended(library, Cause.REPEATED_FAILURE, RunState.HELD)
    attempt = queries.attempts(library.session, run.id)[0]
    attempt.cause = Cause.NO_PROGRESS.value
    told = ending(library, run)
    assert Step.RELEASE not in [each.step for each in told.next]
    assert told.underlying is CAUSES[Cause.NO_PROGRESS]
    assert not told.retry.by_itself
    assert Step.RELEASE in [each.step for each in ending(library, run, maria).next]


def test_an_interrupted_run_says_how_often_it_is_tried(library: Library) -> None:
    run = ended(library, Cause.LOST_WORKER, RunState.QUEUED)
    found = ending(library, run).retry
    assert (found.by_itself, found.alike, found.limit) == (True, 1, SAME_CAUSE_LIMIT)
    assert f"1 of at most {SAME_CAUSE_LIMIT}" in found.words()
    blameless = ending(library, ended(library, Cause.PREEMPTED, RunState.QUEUED)).retry
    assert (blameless.by_itself, blameless.limit) == (True, None)


def test_a_run_cancelled_while_it_waited_is_not_said_to_have_kept_anything(
    library: Library,
) -> None:
    run = library.submit()
    run.state, run.cause, run.finished_at = RunState.CANCELLED, Cause.CANCELLED, clock.now()
    found = ending(library, queries.get_run(library.session, library.student, run.id))
    assert found.explanation is NEVER_STARTED
    assert not found.kept.words()
    assert ending(library, ended(library, Cause.CANCELLED)).explanation is CAUSES[Cause.CANCELLED]


def test_a_run_that_waits_for_the_disk_goes_on_by_itself(library: Library) -> None:
    run = ended(library, Cause.DISK_FULL, RunState.HELD)
    found = ending(library, run)
    assert found.retry.by_itself
    assert [each.step for each in found.next] == [Step.CHANGE]


def test_what_was_kept_is_counted(library: Library) -> None:
    run = ended(library, Cause.TIME_LIMIT)
    assert ending(library, run).kept.words() == []
    checkpoint(run.id, 10)
    checkpoint(run.id, 30)
    kept = ending(library, run).kept
    assert kept.checkpoint_step == 30
    assert "Checkpoint of step 30" in kept.words()
    assert Step.CONTINUE in [each.step for each in ending(library, run).next]


def test_bad_rows_are_opened_where_they_are(library: Library) -> None:
    reason = {"message": "{file}, line {line}", "values": {"file": "rows.jsonl", "line": 12}}
    found = ending(library, ended(library, Cause.BAD_DATA, reason=reason)).next[0]
    assert found.step is Step.DATASET
    assert f"/datasets/{library.dataset.id}?line=12" in found.href
    assert found.title.format(**found.values) == "Open the dataset at line 12"


def test_the_coach_shows_what_was_wanted_and_variants_that_fit(library: Library) -> None:
    make_device(library.session, "cuda:0", memory_bytes=64 << 30)
    asked = "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has more."
    reason = {"message": asked, "values": {}}
    run = ended(library, Cause.OUT_OF_MEMORY, reason=reason, peak_memory_bytes=700 * MIB)
    found = coach_of(library.session, run, ending(library, run).next)
    assert found is not None
    assert (found.asked, found.used, found.wanted) == (20 * MIB, 700 * MIB, 720 * MIB)
    assert found.had == run.memory_bytes
    assert sum(part.bytes for part in found.parts) == run.estimate["predicted_bytes"]
    assert found.place is not None
    assert found.place.is_kept
    names = [option.fields["variant"] for option in found.options]
    assert {"half_batch", "more_memory"} <= set(names)
    more = found.options[names.index("more_memory")].estimate
    assert more is not None
    assert more["memory_bytes"] > run.memory_bytes
    for option in found.options:
        assert option.estimate is not None
        assert [(e["fits"], e["fits_now"]) for e in option.estimate["devices"]] == [(True, True)]


def test_more_memory_is_not_offered_where_no_device_has_it(library: Library) -> None:
    run = ended(library, Cause.OUT_OF_MEMORY, peak_memory_bytes=900 * MIB)
    make_device(library.session, memory_bytes=1000 * MIB)
    options = [each.fields["variant"] for each in ending(library, run).next if each.fields]
    assert "more_memory" not in options


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("Tried to allocate 1.50 GiB. GPU 0", 1610612736),
        (
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8388608 bytes.",
            8388608,
        ),
        ("Used {used}, had {limit}.", None),
    ],
)
def test_the_words_of_torch_are_read(words: str, size: int | None) -> None:
    assert asked_bytes(words) == size


def test_attempts_are_told_from_step_to_step(library: Library) -> None:
    run = ended(library, Cause.LOST_WORKER, RunState.RUNNING)
    run.attempt = 2
    make_attempt(library.session, run, 2, started_at=clock.now(), resumed_from_step=20)
    lines = page(library, run).tries
    assert [(line.first, line.last) for line in lines] == [(0, 20), (20, None)]
    assert lines[0].ended == CAUSES[Cause.LOST_WORKER].title
    assert lines[1].ended == "Goes on"


def test_memory_and_time_stand_side_by_side(library: Library) -> None:
    run = ended(library, Cause.DIVERGED)
    attempt = queries.attempts(library.session, run.id)[0]
    attempt.peak_memory_bytes = 2 * run.estimate["predicted_bytes"]
    library.session.flush()
    shown = page(library, run)
    told = shown.memory.as_json()
    assert told["predicted_bytes"] == sum(told["parts"].values())
    assert told["reserved_bytes"] == run.memory_bytes >= told["corrected_bytes"]
    assert told["ratio"] == 2
    assert shown.time.as_json()["predicted_seconds"] == run.estimate["seconds"]


def test_a_crash_becomes_a_report(library: Library) -> None:
    reason = {"message": "RuntimeError: boom", "values": {}, "traceback": "Traceback: x.py"}
    run = ended(library, Cause.LAB_CRASHED, reason=reason)
    text = page(library, run).report
    for part in (str(run.id), run.code_version, "boom", "Traceback: x.py"):
        assert part in text
    assert page(library, ended(library, Cause.DIVERGED)).report == ""
