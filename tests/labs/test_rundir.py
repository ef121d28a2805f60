"""Events, artifacts and checkpoints under kills, torn files and full disks."""

import json
import math
from pathlib import Path

import pytest

from labs.contract import Column
from labs.disk import DiskFull
from labs.events import EventLog, number, read_events
from labs.published import MANIFEST, is_whole, publishing, read_manifest
from labs.rundir import CHECKPOINTS_KEPT, DirectoryContext, store_result, stored_result
from labs.runspec import Resource, read_params, write_params
from tests.labs.runs import events_of, make_context, make_spec


@pytest.fixture
def run(tmp_path: Path) -> DirectoryContext:
    return make_context(tmp_path, make_spec(tmp_path, tmp_path))


def save(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w" * 10_000)
    (folder / "position.json").write_text("{}")


def fill_and_fail(run: DirectoryContext) -> None:
    with run.artifact("adapter", "adapter") as folder:
        save(folder)
        raise OSError("disk full")


def test_params_come_back_as_they_were_written(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, tmp_path, memory_limit_bytes=1 << 30)
    write_params(tmp_path, spec)
    assert read_params(tmp_path) == spec


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1, -0.0, 1e308])
def test_every_float_survives_the_event_log(run: DirectoryContext, value: float) -> None:
    run.log(1, {"train/loss": value})
    stored = float(events_of(run.run_dir, "metrics")[0]["values"]["train/loss"])
    assert stored == value or (math.isnan(stored) and math.isnan(value))


def test_numbers_that_json_lacks_are_strings() -> None:
    found = [number(math.nan), number(math.inf), number(-math.inf)]
    assert found == ["NaN", "Infinity", "-Infinity"]


def test_each_event_is_one_line_with_attempt_and_time(run: DirectoryContext) -> None:
    run.table("t", "Line\nbreak", [Column("a", "A")], [["x\ny"]])
    lines = (run.run_dir / "events.jsonl").read_bytes().splitlines()
    assert len(lines) == 1
    event = json.loads(lines[0])
    assert event["attempt"] == 1
    assert event["t"] > 1e9


def test_a_torn_line_is_ended_by_the_next_attempt(tmp_path: Path) -> None:
    EventLog(tmp_path, 1).write("stage", stage="setup", status="started")
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"kind":"metrics","step')
    EventLog(tmp_path, 2).write("stage", stage="setup", status="skipped")
    assert [event["attempt"] for event in read_events(tmp_path)] == [1, 2]


def test_progress_is_throttled_but_its_end_is_told(run: DirectoryContext) -> None:
    for done in range(101):
        run.progress(done, 100)
    told = [event["done"] for event in events_of(run.run_dir, "progress")]
    assert told[0] == 0
    assert told[-1] == 100
    assert len(told) < 20


def test_an_artifact_appears_whole_with_its_manifest(run: DirectoryContext) -> None:
    with run.artifact("adapter", "adapter", step=7) as folder:
        save(folder)
        assert not (run.run_dir / "artifacts" / "adapter").exists()
    target = run.run_dir / "artifacts" / "adapter"
    manifest = read_manifest(target)
    assert manifest is not None
    assert (manifest["step"], manifest["attempt"], manifest["bytes"]) == (7, 1, 10_002)
    assert [file["path"] for file in manifest["files"]] == ["position.json", "weights"]
    assert is_whole(target)
    event = events_of(run.run_dir, "artifact")[0]
    assert (event["bytes"], event["sha256"]) == (10_002, manifest["sha256"])


def test_an_artifact_that_fails_half_way_stays_invisible(run: DirectoryContext) -> None:
    with pytest.raises(OSError, match="disk full"):
        fill_and_fail(run)
    assert list((run.run_dir / "artifacts").iterdir()) == []
    assert events_of(run.run_dir, "artifact") == []


def test_an_older_artifact_stays_when_its_successor_fails(run: DirectoryContext) -> None:
    with run.artifact("adapter", "adapter") as folder:
        save(folder)
    with pytest.raises(OSError, match="disk full"):
        fill_and_fail(run)
    assert is_whole(run.run_dir / "artifacts" / "adapter")


def test_what_a_killed_attempt_left_unfinished_is_swept(run: DirectoryContext) -> None:
    left = run.run_dir / "artifacts" / ".unfinished-adapter"
    left.mkdir()
    (left / "weights").write_bytes(b"half")
    make_context(run.run_dir, make_spec(run.run_dir, run.run_dir, attempt=2))
    assert not left.exists()


def test_the_newest_checkpoints_are_kept(run: DirectoryContext) -> None:
    for step in (1, 2, 3, 10):
        run.checkpoint(step, save)
    names = sorted(path.name for path in (run.run_dir / "checkpoints").iterdir())
    assert names == ["step-00000003", "step-00000010"]
    assert len(names) == CHECKPOINTS_KEPT
    found = run.latest_checkpoint()
    assert found is not None
    assert found[0] == 10


@pytest.mark.parametrize("file", ["weights", "position.json", MANIFEST])
@pytest.mark.parametrize("cut", [0, 1, 4096, -1])
def test_a_torn_checkpoint_is_passed_over(run: DirectoryContext, file: str, cut: int) -> None:
    run.checkpoint(1, save)
    run.checkpoint(2, save)
    path = run.run_dir / "checkpoints" / "step-00000002" / file
    content = path.read_bytes()
    shorter = content[:cut] if cut < len(content) else content[:-1]
    path.write_bytes(shorter)
    found = run.latest_checkpoint()
    assert found is not None
    assert found[0] == 1


def test_a_changed_byte_is_noticed(run: DirectoryContext) -> None:
    run.checkpoint(1, save)
    path = run.run_dir / "checkpoints" / "step-00000001" / "weights"
    path.write_bytes(b"v" + path.read_bytes()[1:])
    assert run.latest_checkpoint() is None


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_leaves_the_earlier_one(
    run: DirectoryContext, error: Exception
) -> None:
    def full(folder: Path) -> None:
        save(folder)
        raise error

    with pytest.raises(DiskFull, match="of step 1 was not saved"):
        run.checkpoint(1, full)
    run.checkpoint(1, save)
    with pytest.raises(DiskFull, match="step 2 was not saved, that of step 1 is kept"):
        run.checkpoint(2, full)
    found = run.latest_checkpoint()
    assert found is not None
    assert found[0] == 1


def test_the_manifest_is_written_last(tmp_path: Path) -> None:
    with publishing(tmp_path / "a", {"name": "a"}) as folder:
        save(folder)
        assert not (folder / MANIFEST).exists()
    assert (tmp_path / "a" / MANIFEST).exists()


def test_a_completed_stage_gives_its_summary_to_later_ones(run: DirectoryContext) -> None:
    assert stored_result(run.run_dir, "train") is None
    assert run.result("train") == {}
    store_result(run.run_dir, "train", {"steps": 5}, 1.5)
    assert run.result("train") == {"steps": 5}


def test_a_run_that_goes_on_from_another_starts_from_its_model(tmp_path: Path) -> None:
    parent = Resource("an earlier run", str(tmp_path / "merged"))
    run = make_context(tmp_path, make_spec(tmp_path, tmp_path, parent=parent))
    assert (run.base_model, run.base_model_name) == (tmp_path / "merged", "an earlier run")
