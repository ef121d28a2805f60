"""Every end of an attempt has one name."""

import signal
from pathlib import Path
from typing import Any

import pytest

from app.models import RunState
from app.runs.causes import CAUSES
from labs.contract import Cause
from workers.verdict import Stop, judge, oom_kills


def end(outcome: str, **fields: Any) -> dict[str, Any]:
    return {"outcome": outcome, "cause": "", "message": "", "values": {}, "traceback": "", **fields}


@pytest.mark.parametrize(
    ("last", "code", "stop", "oom", "state", "cause"),
    [
        (end("succeeded"), 0, None, False, RunState.SUCCEEDED, None),
        (end("succeeded"), -15, Stop.CANCEL, False, RunState.SUCCEEDED, None),
        (end("failed", cause="diverged"), 1, None, False, RunState.FAILED, Cause.DIVERGED),
        (end("failed", cause="new one"), 1, None, False, RunState.FAILED, Cause.LAB_CRASHED),
        (end("stopped"), 1, Stop.CANCEL, False, RunState.CANCELLED, Cause.CANCELLED),
        (None, -9, Stop.CANCEL, False, RunState.CANCELLED, Cause.CANCELLED),
        (end("stopped"), 1, Stop.PREEMPT, False, None, Cause.PREEMPTED),
        (end("stopped"), 1, Stop.DRAIN, False, None, Cause.DRAINED),
        (end("stopped"), 1, Stop.TIME_LIMIT, False, RunState.FAILED, Cause.TIME_LIMIT),
        (None, -9, Stop.NO_PROGRESS, False, None, Cause.NO_PROGRESS),
        (end("stopped"), 1, None, False, None, Cause.KILLED),
        (None, -9, None, False, None, Cause.KILLED),
        (None, -11, None, False, None, Cause.KILLED),
        (None, -9, None, True, RunState.FAILED, Cause.HOST_OUT_OF_MEMORY),
        (None, 1, None, False, RunState.FAILED, Cause.LAB_CRASHED),
        (None, 0, None, False, RunState.FAILED, Cause.LAB_CRASHED),
    ],
)
def test_an_end_is_named(
    last: dict[str, Any] | None,
    code: int,
    stop: Stop | None,
    oom: bool,
    state: RunState | None,
    cause: Cause | None,
) -> None:
    verdict = judge(last, code, stop, 7, oom)
    assert (verdict.state, verdict.cause) == (state, cause)
    if verdict.reason:
        assert verdict.reason["message"].format(**verdict.reason["values"]) is not None


@pytest.mark.parametrize(
    ("message", "values", "shown"),
    [
        ("Rank {rank} is too large.", {"rank": 512}, "Rank 512 is too large."),
        ("KeyError: {'a': 1}", {}, "KeyError: {'a': 1}"),
        ("{0} {", {}, "{0} {"),
    ],
)
def test_a_labs_sentence_can_always_be_shown(
    message: str, values: dict[str, Any], shown: str
) -> None:
    verdict = judge(end("failed", message=message, values=values), 1, None, 0, False)
    assert verdict.reason is not None
    assert verdict.reason["message"].format(**verdict.reason["values"]) == shown


def test_kills_for_memory_are_counted(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    assert oom_kills(events) == 2
    assert oom_kills(tmp_path / "absent") == 0


@pytest.mark.parametrize("stop", [None, *Stop])
def test_a_page_promises_a_retry_exactly_when_there_is_one(stop: Stop | None) -> None:
    verdict = judge(None, -signal.SIGKILL, stop, step=3, host_oom=False)
    assert verdict.cause is not None
    assert CAUSES[verdict.cause].retried == (verdict.state in (None, RunState.HELD))
