"""The same work is done once, reads the same, and says nobody's name."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import commit
from app.errors import Conflict, Forbidden, NotFound, Unavailable
from app.metrics import store
from app.models import Artifact, Classroom, Role, Run, RunEvent, RunState, User
from app.runs import lifecycle, preflight, queries, same_work, taken_files, taking
from app.runs.preflight.start import Parent
from app.runs.submit import submit
from app.settings import get_settings
from tests.runs.conftest import Library
from tests.support.carried_out import LOG, carry_out
from tests.support.factories import make_classroom, make_dataset, make_device, make_user

SEED = 7


def finished(library: Library, owner: User, **values: Any) -> Run:
    run = submit(library.session, owner, library.submission(**{"seed": SEED, **values}))
    return carry_out(library.session, run)


@pytest.fixture
def room(library: Library) -> tuple[Classroom, User]:
    """A class of the library's student and another."""
    make_device(library.session, title="Two cores")
    other = make_user(library.session)
    return make_classroom(library.session, library.student, other), other


def waiting(library: Library, **values: Any) -> Run:
    return library.submit(**{"seed": SEED, **values})


def test_a_finished_run_of_the_class_is_offered(
    library: Library, room: tuple[Classroom, User]
) -> None:
    source = finished(library, room[1])
    offer = same_work.offer_for(library.session, waiting(library))
    assert offer is not None
    assert (offer.source, offer.seed) == (source.id, SEED)
    assert (offer.origin.device, offer.origin.own_run) == ("Two cores", None)


def test_a_class_may_want_everybody_to_do_it(
    library: Library, room: tuple[Classroom, User]
) -> None:
    finished(library, room[1])
    room[0].offers_same_work = False
    assert same_work.offer_for(library.session, waiting(library)) is None


def test_people_of_other_classes_are_offered_nothing(library: Library) -> None:
    stranger = make_user(library.session)
    make_classroom(library.session, stranger)
    make_classroom(library.session, library.student)
    finished(library, stranger)
    assert same_work.offer_for(library.session, waiting(library)) is None


def test_ones_own_run_comes_first_and_may_be_looked_at(
    library: Library, room: tuple[Classroom, User]
) -> None:
    own = finished(library, library.student)
    finished(library, room[1])
    offer = same_work.offer_for(library.session, waiting(library))
    assert offer is not None
    assert offer.source == offer.origin.own_run == own.id


@pytest.mark.parametrize(
    "values",
    [{"seed": SEED + 1}, {"params": {"steps": 11}}, {"stages": ["setup"]}],
    ids=["seed", "parameter", "stages"],
)
def test_other_work_is_not_offered(
    library: Library, room: tuple[Classroom, User], values: dict[str, Any]
) -> None:
    finished(library, room[1])
    assert same_work.offer_for(library.session, waiting(library, **values)) is None


def test_a_run_whose_files_are_gone_is_not_offered(
    library: Library, room: tuple[Classroom, User]
) -> None:
    source = finished(library, room[1])
    weights = get_settings().run_dir(source.id) / "artifacts" / "adapter" / "weights.bin"
    weights.write_bytes(b"")
    assert same_work.offer_for(library.session, waiting(library)) is None


def test_anothers_name_of_the_same_rows_is_not_told(
    library: Library, room: tuple[Classroom, User]
) -> None:
    theirs = make_dataset(
        library.session, name="my-thesis", owner_id=room[1].id, path=library.dataset.path,
        sha256=library.dataset.sha256, bytes=library.dataset.bytes,
    )  # fmt: skip
    finished(library, room[1], dataset=str(theirs.id))
    assert same_work.offer_for(library.session, waiting(library)) is None


@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.data())
def test_fingerprints_are_equal_iff_the_work_is(library: Library, data: st.DataObject) -> None:
    choices = st.fixed_dictionaries(
        {
            "steps": st.sampled_from([10, 11]),
            "rank": st.sampled_from([1, 8]),
            "alpha": st.sampled_from([1, 16.0]),
        }
    )
    stages = st.sampled_from([None, ("setup",), ("setup", "train", "inference", "deploy")])
    one, two = (data.draw(st.tuples(choices, stages)) for _ in range(2))
    marks = [_mark(library, *each) for each in (one, two)]
    assert (marks[0] == marks[1]) == (_plain(*one) == _plain(*two))


def _mark(library: Library, params: dict[str, Any], stages: tuple[str, ...] | None) -> str:
    wanted = library.submission(params=params, stages=stages, name="any", seed=None)
    return same_work.fingerprint(preflight.check(library.session, library.student, wanted))


def _plain(params: dict[str, Any], stages: tuple[str, ...] | None) -> tuple[Any, ...]:
    return (params, stages or ("setup", "train", "inference", "deploy"))


def test_another_model_dataset_or_parent_is_other_work(library: Library) -> None:
    checked = preflight.check(library.session, library.student, library.submission())
    marks = {same_work.fingerprint(checked)}
    parent = Parent(Run(), Artifact(sha256="0" * 64))
    marks.add(same_work.fingerprint(replace(checked, start=replace(checked.start, parent=parent))))
    os.utime(Path(library.model.path) / "model.safetensors", ns=(0, 0))
    marks.add(same_work.fingerprint(checked))
    library.dataset.sha256 = "f" * 64
    marks.add(same_work.fingerprint(checked))
    assert len(marks) == 4


def test_a_taken_run_has_all_that_the_other_showed(
    library: Library, room: tuple[Classroom, User]
) -> None:
    session = library.session
    source = finished(library, room[1])
    run = taking.take_offer(session, library.student, waiting(library).id)
    commit(session)
    session.refresh(run)
    assert (run.state, run.same_as_id, run.attempt) == (RunState.SUCCEEDED, source.id, 0)
    assert run.environment == {"torch": "2"}
    theirs, ours = (store.read(session, each.id) for each in (source, run))
    assert ours.series("train/loss")[1].tolist() == theirs.series("train/loss")[1].tolist()
    assert store.latest(session, [run.id])[run.id] == store.latest(session, [source.id])[source.id]
    assert shown(session, run.id) == shown(session, source.id)
    (artifact,) = queries.artifacts(session, run.id)
    assert same_work.files_hold(run.id, [artifact])
    assert queries.attempts(session, run.id) == []


def shown(session: Session, run_id: UUID) -> list[tuple[str, Any]]:
    events = queries.events(session, run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [(event.kind, event.payload) for event in events if event.kind != "state"]


def test_files_are_linked_and_say_no_foreign_id(
    library: Library, room: tuple[Classroom, User]
) -> None:
    source = finished(library, room[1])
    run = taking.take_offer(library.session, library.student, waiting(library).id)
    commit(library.session)
    theirs, ours = (get_settings().run_dir(each.id) for each in (source, run))
    weights = Path("artifacts/adapter/weights.bin")
    assert (theirs / weights).stat().st_ino == (ours / weights).stat().st_ino
    assert (ours / "output.log").read_text() == LOG.format(folder=ours)
    assert not (ours / "checkpoints").exists()
    for path in ours.rglob("*"):
        assert not (path.is_file() and str(source.id).encode() in path.read_bytes())


def test_the_other_run_is_untouched_when_the_copy_goes(
    library: Library, room: tuple[Classroom, User]
) -> None:
    source = finished(library, room[1])
    run = taking.take_offer(library.session, library.student, waiting(library).id)
    commit(library.session)
    shutil.rmtree(get_settings().run_dir(run.id))
    assert same_work.files_hold(source.id, queries.artifacts(library.session, source.id))


def test_taking_twice_is_taking_once(library: Library, room: tuple[Classroom, User]) -> None:
    finished(library, room[1])
    run = waiting(library)
    for _ in range(2):
        taking.take_offer(library.session, library.student, run.id)
    commit(library.session)
    events = library.session.scalars(select(RunEvent).where(RunEvent.run_id == run.id)).all()
    assert sum(event.payload.get("state") == "succeeded" for event in events) == 1


def test_a_copy_of_a_copy_says_where_it_was_measured(
    library: Library, room: tuple[Classroom, User]
) -> None:
    source = finished(library, room[1])
    first = taking.take_offer(library.session, library.student, waiting(library).id)
    commit(library.session)
    (get_settings().run_dir(source.id) / "artifacts" / "adapter" / "manifest.json").unlink()
    second = taking.take_offer(library.session, library.student, waiting(library).id)
    assert first.same_as_id == second.same_as_id == source.id
    origin = same_work.origin_of(library.session, library.student, second)
    assert (origin.device, origin.own_run) == ("Two cores", None)


def test_a_run_that_started_takes_nothing(library: Library, room: tuple[Classroom, User]) -> None:
    finished(library, room[1])
    run = waiting(library)
    lifecycle.assign(library.session, run.id, "cpu", {"message": "", "values": {}})
    with pytest.raises(Conflict):
        taking.take_offer(library.session, library.student, run.id)


def test_only_the_owner_takes(library: Library, room: tuple[Classroom, User]) -> None:
    finished(library, room[1])
    run = waiting(library)
    with pytest.raises(NotFound):
        taking.take_offer(library.session, room[1], run.id)
    admin = make_user(library.session, role=Role.ADMIN)
    with pytest.raises(Forbidden):
        taking.take_offer(library.session, admin, run.id)


def test_reusing_at_once_needs_no_room_in_the_queue(
    library: Library, room: tuple[Classroom, User]
) -> None:
    finished(library, room[1])
    room[0].max_waiting_per_person = 1
    waiting(library)
    run = library.submit(reuse=True, idempotency_key="form")
    assert (run.state, run.seed) == (RunState.SUCCEEDED, SEED)
    assert library.submit(reuse=True, idempotency_key="form").id == run.id


def test_reuse_without_a_finished_run_queues(
    library: Library, room: tuple[Classroom, User]
) -> None:
    assert library.submit(reuse=True, seed=SEED).state is RunState.QUEUED


def test_a_crash_before_the_commit_leaves_a_run_that_waits(
    library: Library, room: tuple[Classroom, User]
) -> None:
    finished(library, room[1])
    run = waiting(library)
    library.session.commit()
    taking.take_offer(library.session, library.student, run.id)
    library.session.rollback()
    library.session.info.clear()
    assert library.session.get_one(Run, run.id).state is RunState.QUEUED
    assert not get_settings().run_dir(run.id).exists()
    (beside,) = get_settings().runs_dir.glob(".taken-*")
    os.utime(beside, (0, 0))
    assert (taken_files.settle(), beside.exists()) == (1, False)


def test_a_crash_after_the_commit_is_settled(
    library: Library, room: tuple[Classroom, User], session_factory: Callable[[], Session]
) -> None:
    finished(library, room[1])
    run = waiting(library)
    taking.take_offer(library.session, library.student, run.id)
    library.session.commit()  # and nothing that should follow it
    assert not get_settings().run_dir(run.id).exists()
    assert [taken_files.settle(), taken_files.settle()] == [1, 0]
    with session_factory() as later:
        assert same_work.files_hold(run.id, queries.artifacts(later, run.id))


def test_a_result_whose_files_cannot_be_written_is_not_taken(
    library: Library, room: tuple[Classroom, User]
) -> None:
    finished(library, room[1])
    run = waiting(library)
    offer = same_work.offer_for(library.session, run)
    assert offer is not None
    shutil.rmtree(get_settings().runs_dir, ignore_errors=True)
    get_settings().runs_dir.touch()
    with pytest.raises(Unavailable):
        taking.take(library.session, run, offer)
    assert run.same_as_id is None


def test_a_failure_among_the_rows_leaves_no_files(
    library: Library, room: tuple[Classroom, User]
) -> None:
    source = finished(library, room[1])
    run = waiting(library)
    offer = same_work.offer_for(library.session, run)
    assert offer is not None
    lifecycle.request_cancel(library.session, run.id, library.student)
    with pytest.raises(Conflict):
        taking.take(library.session, run, offer)
    assert [path.name for path in get_settings().runs_dir.iterdir()] == [str(source.id)]
