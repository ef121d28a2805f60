"""A step that is killed after its effect and before its record is done again, and harms nothing."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from labs.events import read_events
from labs.published import is_whole, publishing, read_manifest, sweep
from tests.labs.runs import make_context, make_spec
from tests.support.killed import count_in_a_child

# What a process tells its audit hooks of before it is done to the disk.
ON_THE_DISK = ("open", "os.rename", "os.rmdir", "os.remove", "os.mkdir", "shutil.rmtree")
NEVER = 0


def in_a_child(deed: Callable[[], object], last: int) -> int:
    """Do it in a process that is killed before its deed number `last` on the disk.

    Returns how many it came to.
    """
    return count_in_a_child(lambda told: _do(deed, last, told), last)


def _do(deed: Callable[[], object], last: int, told: int) -> int:
    seen = 0

    def note(event: str, _: Any) -> None:
        nonlocal seen
        if event in ON_THE_DISK:
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(told, b".")

    sys.addaudithook(note)
    try:
        deed()
    except BaseException:  # whatever it is, this process must not go on as a second test run
        return 1
    return 0


def publish(target: Path, content: str) -> None:
    with publishing(target, {"name": target.name}) as folder:
        (folder / "weights").write_text(content)
        (folder / "config").write_text(content)


def test_an_artifact_that_replaces_another_is_there_at_every_moment(tmp_path: Path) -> None:
    """Either of the two, whole: its row may be in the database already."""
    target = tmp_path / "artifacts" / "adapter"

    def replace() -> None:
        publish(target, "new")

    publish(target, "old")
    for last in range(1, in_a_child(replace, NEVER) + 1):
        shutil.rmtree(target.parent)
        publish(target, "old")
        in_a_child(replace, last)
        sweep(target.parent)
        assert is_whole(target), f"killed before deed {last}"
        assert [path.name for path in target.parent.iterdir()] == ["adapter"]
        replace()
        assert (target / "weights").read_text() == "new"


def test_an_artifact_is_announced_whenever_its_process_was_killed(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"

    def deploy(attempt: int) -> None:
        spec = make_spec(tmp_path / "model", tmp_path / "rows.jsonl", attempt=attempt)
        with make_context(run_dir, spec).artifact("adapter", "adapter", step=3) as folder:
            (folder / "weights").write_text("the same in each attempt")

    for last in range(1, in_a_child(partial(deploy, 1), NEVER) + 1):
        shutil.rmtree(run_dir)
        in_a_child(partial(deploy, 1), last)
        deploy(2)
        told = [event for event in read_events(run_dir) if event["kind"] == "artifact"]
        manifest = read_manifest(run_dir / "artifacts" / "adapter")
        assert manifest is not None
        # Once or twice, and of what is there: a repeated row replaces itself.
        assert {event["sha256"] for event in told} == {manifest["sha256"]}
        assert told[-1]["attempt"] == 2
