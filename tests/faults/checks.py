"""What must hold after every cell, whatever was done: the promises, in one function."""

import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil
from sqlalchemy import select

from app.database import reading
from app.metrics import store
from app.metrics.chunk import unpack
from app.models import OVER, Attempt, MetricChunk, Run, RunEvent, RunState
from app.runs import queries
from labs.events import read_events
from labs.published import is_whole, read_manifest
from tests.faults import gate
from tests.faults.catalogue import Fault
from tests.faults.patience import eventually
from tests.faults.phases import FINISHING, Scene
from tests.faults.viewer import Viewer
from tests.support.processes import is_alive

Points = Mapping[str, Mapping[int, float]]
Row = tuple[int, int, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What an undisturbed run of the same seed leaves, and how far apart its checkpoints are."""

    points: Points
    interval: int


def acknowledged(scene: Scene) -> list[Row]:
    """Every metric row that the database has, superseded ones too: (number, step, values)."""
    with reading() as session:
        chunks = session.scalars(
            select(MetricChunk)
            .where(MetricChunk.run_id == scene.run_id)
            .order_by(MetricChunk.first_row)
        ).all()
    rows: list[Row] = []
    for chunk in chunks:
        block = unpack(chunk.keys, chunk.rows, chunk.data)
        for at, step in enumerate(block.steps.tolist()):
            values = {
                key: float(block.values[line, at])
                for line, key in enumerate(block.keys)
                if block.present[line, at]
            }
            rows.append((chunk.first_row + at, step, values))
    return rows


def check_promises(
    scene: Scene, fault: Fault, before: list[Row], viewer: Viewer, expected: Expected
) -> None:
    """Fails with the promise that was broken."""
    with reading() as session:
        run = session.get_one(Run, scene.run_id)
        attempts = list(queries.attempts(session, scene.run_id))
    check_one_end(scene, run)
    check_attempts(run, attempts, fault)
    ends = fault.ends | ({RunState.SUCCEEDED} if scene.place == FINISHING.name else frozenset())
    assert run.state in ends, f"{run.state}: {run.reason}"
    assert acknowledged(scene)[: len(before)] == before, "acknowledged rows are missing or changed"
    check_resumes(scene, fault, expected)
    check_chart(scene, run, viewer, expected)
    check_artifacts(scene)
    check_nothing_is_left(scene)
    check_database(scene)


def check_one_end(scene: Scene, run: Run) -> None:
    """P4: one end, and a history without a gap."""
    with reading() as session:
        told = session.scalars(
            select(RunEvent).where(RunEvent.run_id == scene.run_id).order_by(RunEvent.seq)
        ).all()
    states = [event.payload["state"] for event in told if event.kind == "state"]
    assert [state for state in states if RunState(state) in OVER] == [run.state.value], states
    assert states[-1] == run.state.value, states
    assert [event.seq for event in told] == list(range(1, run.event_count + 1))


def check_attempts(run: Run, attempts: list[Attempt], fault: Fault) -> None:
    """P2, P3: one after the other, each closed, each that did not end the run for a known cause."""
    assert [each.number for each in attempts] == list(range(1, run.attempt + 1))
    assert all(each.finished_at is not None for each in attempts), "an attempt was never closed"
    broken = [each for each in attempts if each.outcome != run.state.value]
    assert {each.outcome for each in broken} <= {"requeued", "held"}
    causes = {each.cause for each in broken}
    assert causes <= {cause.value for cause in fault.causes}, f"closed for {causes}"
    for earlier, later in pairwise(attempts):
        assert earlier.finished_at is not None
        assert earlier.finished_at <= later.assigned_at, "two attempts at once"


def check_resumes(scene: Scene, fault: Fault, expected: Expected) -> None:
    """P6: whoever goes on has lost at most one checkpoint interval."""
    logged: dict[int, list[int]] = defaultdict(list)
    resumed: dict[int, int] = {}
    for event in read_events(scene.run_dir):
        if event["kind"] == "resumed":
            resumed[event["attempt"]] = event["step"]
        elif event["kind"] == "metrics" and "train/loss" in event["values"]:
            logged[event["attempt"]].append(event["step"])
    for attempt in sorted(logged):
        earlier = [step for number in range(attempt) for step in logged[number]]
        lost = max(earlier, default=0) - resumed.get(attempt, 0)
        limit = expected.interval * fault.lost_checkpoints
        assert lost <= limit, f"attempt {attempt} repeated {lost} steps"


def check_chart(scene: Scene, run: Run, viewer: Viewer, expected: Expected) -> None:
    """P6, P7, P9: each point once; in the table, on a page that watched, in an undisturbed run."""
    stored = chart_of(scene)
    assert viewer.chart == stored, "the page and the table differ"
    assert viewer.numbers == list(range(1, run.event_count + 1)), "events lost or told twice"
    logged = Counter((key, step) for _row, step, values in acknowledged(scene) for key in values)
    assert viewer.told <= logged, f"points told more often than logged: {viewer.told - logged}"
    if run.state is RunState.SUCCEEDED:
        assert {key: stored.get(key) for key in expected.points} == expected.points


def chart_of(scene: Scene) -> dict[str, dict[int, float]]:
    """The run's points as a chart shows them; fails where one comes twice."""
    with reading() as session:
        frame = store.read(session, scene.run_id)
    chart: dict[str, dict[int, float]] = {}
    for key in frame.columns:
        steps, values = frame.series(key)
        chart[key] = dict(zip(steps.tolist(), values.tolist(), strict=True))
        assert len(chart[key]) == len(steps), f"{key} has steps twice: {steps.tolist()}"
    return chart


def check_artifacts(scene: Scene) -> None:
    """P8: whole and as it was announced, or not there; and nothing half-made is left."""
    with reading() as session:
        artifacts = queries.artifacts(session, scene.run_id)
    for artifact in artifacts:
        folder = scene.run_dir / artifact.path
        manifest: dict[str, Any] | None = read_manifest(folder)
        assert is_whole(folder), f"{artifact.name} is not whole"
        assert manifest is not None
        assert manifest["sha256"] == artifact.sha256
    assert not list(scene.run_dir.glob("*/.unfinished-*"))


def check_nothing_is_left(scene: Scene) -> None:
    """P5: no trainer and nothing that it or a killed role had started."""
    groups = set(gate.pids(scene.run_dir))
    eventually(lambda: not alive_in(groups), f"trainers of {groups} are still there")
    eventually(lambda: not scene.box.left_behind(), f"left behind: {scene.box.left_behind()}")


def alive_in(groups: set[int]) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) in groups and is_alive(process):
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found


def check_database(scene: Scene) -> None:
    """No crash may have hurt the file of SQLite; Postgres checks itself when it recovers."""
    if scene.box.database_url.startswith("sqlite"):
        connection = sqlite3.connect(scene.box.database_url.removeprefix("sqlite:///"))
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
