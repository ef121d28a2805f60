"""The event log reaches the database in order, once, and only under the attempt that owns it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.metrics import store
from app.models import Attempt
from app.runs import lifecycle, queries
from app.runs.lifecycle import StaleAttempt
from app.runs.reasons import reason_of
from labs.contract import Cause
from labs.published import publishing
from tests.support.factories import make_run
from workers import events
from workers.follow import Follower, run_changes


class Log:
    """A run that is running, its event log, and its follower."""

    def __init__(self, session: Session, folder: Path) -> None:
        self.session = session
        self.folder = folder
        self.run = make_run(session)
        self.start_attempt()

    def start_attempt(self) -> None:
        number = lifecycle.assign(self.session, self.run.id, "cpu", reason_of("Placed."))
        lifecycle.claim(self.session, self.run.id, number, "cpu")
        row = self.session.get_one(Attempt, (self.run.id, number), populate_existing=True)
        self.follower = Follower(self.run.id, number, self.folder, row.events_offset)

    def write(self, kind: str, attempt: int | None = None, **fields: Any) -> None:
        number = self.follower.attempt if attempt is None else attempt
        self.write_line(json.dumps({"kind": kind, "attempt": number, "t": 1.5, **fields}) + "\n")

    def write_line(self, line: str) -> None:
        with (self.folder / "events.jsonl").open("a") as file:
            file.write(line)

    def points(self, *steps: int, attempt: int | None = None) -> None:
        for step in steps:
            self.write("metrics", attempt, step=step, values={"loss": step / 2})

    def follow(self) -> lifecycle.Wishes:
        batch = self.follower.read()
        wishes = self.follower.take(self.session, batch)
        self.follower.committed(batch)
        self.session.refresh(self.run)
        return wishes

    def steps(self) -> list[int]:
        return [int(step) for step in store.read(self.session, self.run.id).steps]

    def told(self) -> list[str]:
        listed = queries.events(self.session, self.run.id)
        return [event.kind for event in listed if event.kind != "state"]


@pytest.fixture
def log(session: Session, tmp_path: Path) -> Log:
    return Log(session, tmp_path)


def test_points_progress_and_stage_reach_their_places(log: Log) -> None:
    log.write("stage", stage="train", status="started")
    log.points(1, 2)
    log.write("progress", stage="train", done=2, total=10, note="halfway")
    log.write("environment", torch="2.13.0")
    log.follow()
    run = log.run
    assert log.steps() == [1, 2]
    assert (run.stage, run.progress_done, run.progress_total) == ("train", 2.0, 10.0)
    assert (run.progress_note, run.environment) == ("halfway", {"torch": "2.13.0"})
    assert log.told() == ["stage", "environment"]


def test_nothing_is_taken_twice(log: Log) -> None:
    log.points(1, 2)
    log.follow()
    log.follow()
    log.points(3)
    log.follow()
    assert log.steps() == [1, 2, 3]


def test_a_crash_before_the_commit_loses_and_repeats_nothing(log: Log) -> None:
    log.points(1, 2)
    log.session.commit()
    log.follower.take(log.session, log.follower.read())
    log.session.rollback()
    log.follow()
    assert log.steps() == [1, 2]


def test_a_torn_line_waits_for_its_end(log: Log) -> None:
    log.points(1)
    log.write_line('{"kind": "metrics", "attempt": 1, "t": 1.0, "step": 2, ')
    log.follow()
    assert log.steps() == [1]
    log.write_line('"values": {"loss": 1.0}}\n')
    log.follow()
    assert log.steps() == [1, 2]
    assert log.told() == []


def test_an_unreadable_line_is_passed_over_and_told(log: Log) -> None:
    log.points(1)
    log.write_line("\x00garbage\n")
    log.write("metrics", step="two", values={})
    log.points(3)
    log.follow()
    assert log.steps() == [1, 3]
    (note,) = queries.events(log.session, log.run.id, kinds=["log"])
    assert note.payload["values"]["count"] == 2


def test_numbers_that_are_none_come_back_as_themselves(log: Log) -> None:
    log.write("metrics", step=1, values={"a": "NaN", "b": "Infinity", "c": "-Infinity"})
    log.follow()
    frame = store.read(log.session, log.run.id)
    assert [str(frame.series(key)[1][0]) for key in "abc"] == ["nan", "inf", "-inf"]


def test_lines_of_a_process_that_should_be_dead_are_ignored(log: Log) -> None:
    log.points(1, 2)
    log.follow()
    lifecycle.requeue(log.session, log.run.id, 1, Cause.LOST_WORKER)
    log.start_attempt()
    log.points(3, attempt=1)
    log.points(4)
    log.follow()
    assert log.steps() == [1, 2, 4]


def test_what_a_dead_attempt_wrote_unread_is_not_lost(log: Log) -> None:
    log.points(1, 2)
    log.follow()
    log.points(3, 4)  # and nobody reads it before the worker dies
    log.write("end", outcome="failed")
    lifecycle.requeue(log.session, log.run.id, 1, Cause.LOST_WORKER)
    log.start_attempt()
    log.write("resumed", step=3)
    log.points(4, 5)
    log.follow()
    assert log.steps() == [1, 2, 3, 4, 5]
    assert log.follower.end is None
    assert log.told() == ["resumed"]


def test_an_attempt_that_starts_over_leaves_one_line(log: Log) -> None:
    log.points(1, 2, 3)
    log.follow()
    lifecycle.requeue(log.session, log.run.id, 1, Cause.LOST_WORKER)
    log.start_attempt()
    log.points(1, 2)
    log.follow()
    assert log.steps() == [1, 2]


@pytest.mark.parametrize("read_before", [True, False])
def test_nobody_inherits_what_a_zombie_wrote(log: Log, read_before: bool) -> None:
    log.points(1, 2)
    log.follow()
    lifecycle.requeue(log.session, log.run.id, 1, Cause.LOST_WORKER)
    log.start_attempt()
    log.write("resumed", step=2)
    log.points(3, 4)
    if read_before:
        log.follow()
    log.points(3, 4, 5, attempt=1)  # attempt 1 lives on, and attempt 2 dies before it reads that
    lifecycle.requeue(log.session, log.run.id, 2, Cause.LOST_WORKER)
    log.start_attempt()
    log.follow()
    assert log.steps() == [1, 2, 3, 4]


def test_the_follower_of_an_old_attempt_is_refused(log: Log) -> None:
    log.points(1)
    old = log.follower
    lifecycle.requeue(log.session, log.run.id, 1, Cause.LOST_WORKER)
    log.start_attempt()
    with pytest.raises(StaleAttempt):
        old.take(log.session, old.read())
    assert log.steps() == []


def test_the_wish_to_cancel_is_heard(log: Log) -> None:
    log.run.cancel_requested_at = log.run.created_at
    log.session.flush()
    assert log.follow().cancel


def test_an_artifact_is_visible_when_it_is_whole(log: Log) -> None:
    facts = {"name": "adapter", "kind": "adapter", "step": 4, "attempt": 1}
    with publishing(log.folder / "artifacts" / "adapter", facts) as folder:
        (folder / "weights").write_bytes(b"12345")
    manifest = json.loads((log.folder / "artifacts/adapter/manifest.json").read_text())
    announced = {
        "name": "adapter", "artifact_kind": "adapter", "path": "artifacts/adapter", "step": 4,
        "bytes": manifest["bytes"], "sha256": manifest["sha256"],
    }  # fmt: skip
    log.write("artifact", **announced)
    log.write("artifact", **{**announced, "name": "gone", "path": "artifacts/gone"})
    log.write("artifact", **{**announced, "path": "../../etc"})
    log.follow()
    (artifact,) = queries.artifacts(log.session, log.run.id)
    assert (artifact.name, artifact.kind, artifact.bytes, artifact.step) == (
        "adapter",
        "adapter",
        5,
        4,
    )


def test_the_last_word_is_kept_for_the_verdict(log: Log) -> None:
    log.write("end", outcome="failed", cause="diverged", message="It broke.")
    log.follow()
    assert log.follower.end is not None
    assert log.follower.end["cause"] == "diverged"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from(sorted(events.SHAPES)), st.dictionaries(st.text(max_size=8), anything))
@settings(deadline=None)
def test_no_line_however_strange_raises(kind: str, fields: dict[str, Any]) -> None:
    line = json.dumps({"attempt": 1, "t": 1.0, **fields, "kind": kind}).encode()
    event = events.parse(line)
    assert event is None or event["kind"] == kind
    run_changes([event] if event else [])


@pytest.mark.parametrize(
    "fields",
    [{"step": 2**31}, {"step": -1}, {"step": True}, {"t": 1e300}, {"t": -1.0}, {"attempt": 2**40}],
)
def test_what_no_column_could_hold_is_no_event(fields: dict[str, Any]) -> None:
    point = {"kind": "metrics", "attempt": 1, "t": 1.0, "step": 1, "values": {"loss": 1.0}}
    assert events.parse(json.dumps(point).encode()) is not None
    assert events.parse(json.dumps({**point, **fields}).encode()) is None


def test_a_character_that_postgres_cannot_keep_is_left_out(log: Log) -> None:
    log.write("table", name="t", title="a\x00b", columns=[], rows=[])
    log.follow()
    (table,) = queries.events(log.session, log.run.id, kinds=["table"])
    assert table.payload["title"] == "ab"


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_no_bytes_raise(line: bytes) -> None:
    assert events.parse(line) is None or line
