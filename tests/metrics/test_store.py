"""Metric rows go in and come out unchanged, however they were flushed, rewound and merged."""

import math
from collections.abc import Sequence
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.metrics import chunk, store
from app.metrics.store import MetricRow
from app.models import MetricChunk, RunState
from tests.support.factories import make_run

KEYS = ("train/loss", "eval/loss", "gpu/memory_bytes")
values = st.dictionaries(st.sampled_from(KEYS), st.floats(width=64), max_size=3)
rows = st.lists(
    st.builds(MetricRow, step=st.integers(0, 2**40), time=st.floats(0, 2e9), values=values),
    max_size=30,
)


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


def assert_equal(frame: store.MetricFrame, expected: Sequence[MetricRow]) -> None:
    assert frame.steps.tolist() == [row.step for row in expected]
    assert frame.times.tolist() == [row.time for row in expected]
    for key in KEYS:
        logged = [(row.step, row.values[key]) for row in expected if key in row.values]
        steps, found = frame.series(key)
        assert steps.tolist() == [step for step, _ in logged]
        assert all(map(same, found.tolist(), [value for _, value in logged]))


def running(session: Session, attempt: int = 1) -> UUID:
    return make_run(session, state=RunState.RUNNING, attempt=attempt).id


def losses(steps: Sequence[int]) -> list[MetricRow]:
    return [MetricRow(step, 1000.0 + step, {"train/loss": 1 / (1 + step)}) for step in steps]


def chunks(session: Session, run_id: UUID) -> int:
    counted = select(func.count()).where(MetricChunk.run_id == run_id)
    return session.scalar(counted) or 0


@given(rows)
@settings(deadline=None)
def test_a_packed_block_unpacks_to_the_same(given_rows: list[MetricRow]) -> None:
    block = chunk.from_rows(given_rows)
    again = chunk.unpack(block.keys, len(given_rows), chunk.pack(block))
    assert again.keys == block.keys
    for left, right in zip(
        (again.steps, again.times, again.present), (block.steps, block.times, block.present),
        strict=True,
    ):  # fmt: skip
        assert np.array_equal(left, right)
    assert again.values.tobytes() == block.values.tobytes()


@given(st.lists(rows, max_size=6), st.booleans())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_was_flushed_is_read_back(
    session: Session, flushes: list[list[MetricRow]], merged: bool
) -> None:
    run_id = running(session)
    for flush in flushes:
        store.append(session, run_id, 1, flush)
    if merged:
        store.merge(session, run_id)
    everything = [row for flush in flushes for row in flush]
    assert_equal(store.read(session, run_id), everything)
    for first in (0, 1, len(everything) // 2, len(everything)):
        frame = store.read(session, run_id, first_row=first)
        assert_equal(frame, everything[first:])
        assert frame.next_row == max(first, len(everything))
    session.rollback()


def test_only_the_wanted_keys_are_read(session: Session) -> None:
    run_id = running(session)
    store.append(session, run_id, 1, [MetricRow(1, 0.0, {"a": 1.0, "b": 2.0})])
    assert set(store.read(session, run_id, ["b", "unknown"]).columns) == {"b", "unknown"}
    assert store.read(session, run_id, ["b"]).series("a")[1].tolist() == []


def test_a_resumed_attempt_supersedes_the_rows_past_its_checkpoint(session: Session) -> None:
    run_id = running(session)
    store.append(session, run_id, 1, losses(range(10)))
    store.append(session, run_id, 1, losses(range(10, 20)))
    total = store.rewind(session, run_id, 1, step=4)
    store.append(session, run_id, 1, losses([5, 6]))
    assert total == 20
    frame = store.read(session, run_id)
    assert frame.steps.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert frame.next_row == 22
    assert store.read(session, run_id, first_row=20).steps.tolist() == [5, 6]
    assert store.latest(session, [run_id])[run_id]["train/loss"].step == 6


def test_an_attempt_that_starts_over_supersedes_what_it_says_again(session: Session) -> None:
    run_id = running(session, attempt=2)
    store.append(session, run_id, 2, losses(range(10)), written_by=1)
    store.append(session, run_id, 2, [MetricRow(0, 0.0, {"memory": 7.0})], written_by=1)
    store.append(session, run_id, 2, losses([0, 1]))
    frame = store.read(session, run_id)
    assert frame.series("train/loss")[0].tolist() == [0, 1]
    assert frame.series("memory")[1].tolist() == [7.0]
    assert store.latest(session, [run_id])[run_id]["train/loss"].step == 1


def test_only_the_keys_that_are_said_again_are_superseded(session: Session) -> None:
    run_id = running(session, attempt=2)
    both = [MetricRow(step, 0.0, {"a": 1.0, "b": 2.0}) for step in (4, 5)]
    store.append(session, run_id, 2, both, written_by=1)
    store.append(session, run_id, 2, [MetricRow(5, 0.0, {"b": 3.0})])
    frame = store.read(session, run_id)
    assert frame.series("a")[0].tolist() == [4, 5]
    assert [each.tolist() for each in frame.series("b")] == [[4, 5], [2.0, 3.0]]


lives = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5)


@given(lives, st.booleans())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_step_of_a_key_is_read_once_whatever_attempts_said(
    session: Session, given_lives: list[tuple[int, int]], merged: bool
) -> None:
    run_id = running(session, attempt=9)
    expected: list[int] = []
    for number, (first, count) in enumerate(given_lives, start=1):
        steps = list(range(first, first + count))
        for step in steps:
            store.append(session, run_id, 9, losses([step]), written_by=number)
        expected = [step for step in expected if not steps or step < first] + steps
    if merged:
        store.merge(session, run_id)
    assert store.read(session, run_id).steps.tolist() == expected
    session.rollback()


def test_archived_rows_are_kept(session: Session) -> None:
    run_id = running(session)
    store.append(session, run_id, 1, losses(range(10)))
    store.rewind(session, run_id, 1, step=4)
    store.merge(session, run_id)
    archived = select(func.sum(MetricChunk.rows)).where(MetricChunk.archived)
    assert session.scalar(archived) == 5


def test_merging_leaves_a_chunk_for_each_thousand_rows(session: Session) -> None:
    run_id = running(session)
    everything = losses(range(2500))
    for start in range(0, 2500, 25):
        store.append(session, run_id, 1, everything[start : start + 25])
    assert store.merge(session, run_id) == chunks(session, run_id) == 3
    assert store.merge(session, run_id) == 3
    assert_equal(store.read(session, run_id), everything)


def test_an_attempt_that_is_over_cannot_add_rows(session: Session) -> None:
    run_id = running(session, attempt=2)
    with pytest.raises(Conflict):
        store.append(session, run_id, 1, losses([1]))
    assert chunks(session, run_id) == 0


def test_the_latest_values_know_first_and_extremes(session: Session) -> None:
    run_id = running(session)
    for values_now in (
        {"loss": 3.0},
        {"loss": 1.0, "nan": math.nan},
        {"loss": math.inf},
        {"loss": 2.0},
    ):
        store.append(session, run_id, 1, [MetricRow(7, 0.0, values_now)])
    found = store.latest(session, [run_id])[run_id]
    assert found["loss"] == store.LatestValue(7, 2.0, 3.0, 1.0, 3.0)
    assert math.isnan(found["nan"].value)
    assert found["nan"].minimum is None


def test_a_run_without_metrics_reads_as_empty(session: Session) -> None:
    run_id = running(session)
    assert store.read(session, run_id).steps.tolist() == []
    assert store.latest(session, [run_id]) == {run_id: {}}
