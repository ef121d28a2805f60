"""Runs that start as one: all or none, seen and cancelled like runs, and no way round a limit."""

import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from app.database import commit
from app.errors import Conflict, FieldError, InvalidInput, NotFound, TooMany, Unavailable
from app.groups.cancel import cancel_group
from app.groups.queries import get_group, group_runs, list_groups, progress
from app.groups.start import start_group
from app.models import GroupKind, Role, Run, RunGroup, RunState, User
from app.runs.submit import Submission
from app.settings import get_settings
from tests.runs.conftest import Library
from tests.support.factories import make_classroom, make_device, make_run, make_user

RANKS = (1, 2, 4)


def submissions(library: Library, ranks: Sequence[int] = RANKS, **values: Any) -> list[Submission]:
    return [
        library.submission(name=f"rank {rank}", params={"steps": 10, "rank": rank}, **values)
        for rank in ranks
    ]


def start(library: Library, ranks: Sequence[int] = RANKS, **values: Any) -> RunGroup:
    given: dict[str, Any] = {
        "kind": GroupKind.SWEEP,
        "name": "ranks",
        "lab": "lora",
        "spec": {"ranks": list(ranks)},
        "submissions": submissions(library, ranks),
    }
    return start_group(library.session, library.student, **{**given, **values})


def count(library: Library, table: type[Run] | type[RunGroup]) -> int:
    return library.session.scalar(select(func.count()).select_from(table)) or 0


def nothing_started(library: Library) -> bool:
    return (count(library, Run), count(library, RunGroup)) == (0, 0)


def test_a_group_queues_its_runs_in_their_places(library: Library) -> None:
    group = start(library)
    runs = group_runs(library.session, library.student, group)
    assert [(run.name, run.group_place, run.state) for run in runs] == [
        (f"rank {rank}", place, RunState.QUEUED) for place, rank in enumerate(RANKS)
    ]
    assert [run.position for run in runs] == [1, 2, 3]


def test_one_run_that_does_not_hold_starts_none(library: Library) -> None:
    with pytest.raises(InvalidInput) as refused:
        start(library, (1, 300, 2, 400))
    assert [str(each) for each in refused.value.errors] == [
        "rank 300; rank 400: Rank r: 300 does not fit: allowed is 1 to 256."
    ]
    assert nothing_started(library)


def test_what_is_wrong_with_all_of_them_is_said_once(library: Library) -> None:
    sent = submissions(library, dataset="nothing")
    with pytest.raises(InvalidInput) as refused:
        start(library, submissions=sent)
    assert refused.value.errors == (
        FieldError("dataset", refused.value.errors[0].message, {"name": "nothing"}),
    )


def test_what_no_device_can_hold_is_refused_once(library: Library) -> None:
    make_device(library.session, memory_bytes=1 << 20)
    with pytest.raises(InvalidInput) as refused:
        start(library)
    assert [each.field for each in refused.value.errors] == [""]
    assert "This run needs about" in str(refused.value.errors[0])
    assert nothing_started(library)


def test_a_group_is_counted_as_a_whole(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "4")
    get_settings.cache_clear()
    make_run(library.session, library.student)
    make_run(library.session, library.student)
    with pytest.raises(TooMany) as refused:
        start(library)
    told = "These are 3 runs, and there is room for 2: you have 2 of at most 4 runs waiting."
    assert str(refused.value).startswith(told)
    assert count(library, RunGroup) == 0
    assert len(group_runs(library.session, library.student, start(library, (1, 2)))) == 2
    with pytest.raises(TooMany, match="You have 4 of at most 4 runs waiting"):
        start(library)


def test_a_class_has_room_for_a_group_or_not(library: Library) -> None:
    make_classroom(library.session, library.student).max_waiting = 2
    with pytest.raises(TooMany, match="room for 2: your class has 0 of at most 2 runs waiting"):
        start(library)


def test_the_disk_must_take_all_of_them(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each leaves about 16 MiB: there is room for two of three.
    free = shutil.disk_usage("/").free
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, 0, free))
    monkeypatch.setenv("BUNSEN_MIN_FREE_BYTES", str(free - (40 << 20)))
    get_settings.cache_clear()
    with pytest.raises(Unavailable, match="These 3 runs would leave"):
        start(library)
    assert start(library, (1, 2)).name == "ranks"


def test_the_same_key_gives_the_same_group(library: Library) -> None:
    group = start(library, idempotency_key="form")
    assert start(library, idempotency_key="form").id == group.id
    assert count(library, Run) == 3
    with pytest.raises(Conflict, match="already used for other runs, “ranks”"):
        start(library, (1, 2), idempotency_key="form")
    assert start(library, idempotency_key="another").id != group.id


def test_what_a_failed_group_wanted_after_the_commit_is_forgotten(library: Library) -> None:
    with pytest.raises(InvalidInput):
        start(library, (1, 300))
    assert library.session.info.get("after_commit", []) == []


def test_similar_runs_are_looked_up_together(library: Library) -> None:
    """Beside its own rows, a run costs no statement for what it shares with its neighbours."""
    seen: list[str] = []
    event.listen(
        library.session.get_bind(), "before_cursor_execute",
        lambda conn, cursor, statement, *rest: seen.append(statement),
    )  # fmt: skip
    costs = []
    for ranks in ((1, 2), (1, 2, 3, 4, 5, 6)):
        seen.clear()
        start(library, ranks)
        costs.append([each for each in seen if each.lstrip().upper().startswith("SELECT")])
    shared = [
        [each for each in statements if "language_models" in each or "devices" in each]
        for statements in costs
    ]
    assert 0 < len(shared[0]) == len(shared[1])


@pytest.mark.parametrize(
    ("role", "sees"), [(Role.STUDENT, False), (Role.INSTRUCTOR, True), (Role.ADMIN, True)]
)
def test_a_group_is_seen_like_its_runs(library: Library, role: Role, sees: bool) -> None:
    group = start(library)
    reader = make_user(library.session, role=role)
    make_classroom(library.session, library.student, reader)
    assert [each.id for each in list_groups(library.session, reader)] == [group.id] * sees
    if sees:
        found = get_group(library.session, reader, group.id)
        assert len(group_runs(library.session, reader, found)) == 3
        return
    with pytest.raises(NotFound):
        get_group(library.session, reader, group.id)


def test_a_group_of_another_kind_is_not_found(library: Library) -> None:
    group = start(library)
    with pytest.raises(NotFound):
        get_group(library.session, library.student, group.id, GroupKind.SCOREBOARD)


def test_progress_counts_the_states(library: Library) -> None:
    group, empty = start(library), start(library, (8,))
    runs = group_runs(library.session, library.student, group)
    runs[0].state, runs[1].state = RunState.SUCCEEDED, RunState.RUNNING
    library.session.flush()
    found = progress(library.session, [group, empty])[group.id]
    assert (found.total, found.over, found.live, found.is_over) == (3, 1, 1, False)


def states(library: Library, group: RunGroup) -> list[RunState]:
    library.session.expire_all()
    return [run.state for run in group_runs(library.session, library.student, group)]


def test_a_group_is_cancelled_as_one_and_twice_is_once(library: Library) -> None:
    group = start(library)
    done, running, _waiting = group_runs(library.session, library.student, group)
    done.state, running.state, running.attempt = RunState.SUCCEEDED, RunState.RUNNING, 1
    library.session.flush()
    cancelled = cancel_group(library.session, library.student, group.id)
    first = cancelled.cancelled_at
    assert states(library, group) == [RunState.SUCCEEDED, RunState.RUNNING, RunState.CANCELLED]
    asked = running.cancel_requested_at
    assert asked is not None
    assert cancel_group(library.session, library.student, group.id).cancelled_at == first
    assert running.cancel_requested_at == asked


def test_a_group_that_is_over_was_not_cancelled(library: Library) -> None:
    group = start(library, (1,))
    group_runs(library.session, library.student, group)[0].state = RunState.SUCCEEDED
    library.session.flush()
    assert cancel_group(library.session, library.student, group.id).cancelled_at is None


def test_who_may_not_cancel_a_run_may_not_cancel_its_group(library: Library) -> None:
    group = start(library)
    with pytest.raises(NotFound):
        cancel_group(library.session, make_user(library.session), group.id)
    teacher = make_user(library.session, role=Role.INSTRUCTOR)
    make_classroom(library.session, library.student, teacher)
    cancel_group(library.session, teacher, group.id)
    assert set(states(library, group)) == {RunState.CANCELLED}


def test_groups_that_come_at_once_do_not_pass_the_limit(
    library: Library, session_factory: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "4")
    get_settings.cache_clear()
    library.session.commit()
    refused: list[TooMany] = []

    def one() -> None:
        with session_factory() as own:
            try:
                start_group(
                    own, own.get_one(User, library.student.id), GroupKind.SWEEP, "ranks", "lora",
                    {}, submissions(library),
                )  # fmt: skip
                commit(own)
            except TooMany as error:
                refused.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(refused), count(library, Run)) == (3, 3)
