"""What a terminal shows of a run, and what a script reads."""

import io
import json

from labs import registry
from labs.console import Console, Follower, JsonLines
from labs.contract import Json

LAB = registry.get("lora")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class NobodyReads(io.StringIO):
    attempts = 0

    def write(self, text: str) -> int:
        self.attempts += 1
        raise BrokenPipeError


def event(kind: str, **fields: object) -> Json:
    return {"kind": kind, "attempt": 1, "t": 0.0, **fields}


def test_a_terminal_gets_a_bar_that_the_next_line_replaces() -> None:
    out = Terminal()
    console = Console(LAB, out)
    console(event("progress", stage="train", done=1, total=4, note="training"))
    console(event("metrics", step=1, values={"eval/loss": 0.5, "train/loss": 9.0}))
    text = out.getvalue()
    assert " 25%  training" in text
    assert text.endswith("\r\x1b[2K  step     1  eval/loss 0.5\n")


def test_a_file_gets_plain_lines_only() -> None:
    out = io.StringIO()
    console = Console(LAB, out)
    console(event("progress", stage="train", done=1, total=4, note="training"))
    console(event("stage", stage="train", status="started"))
    assert out.getvalue() == "\nTrain\n"


def test_a_failure_is_told_with_its_values() -> None:
    out = io.StringIO()
    failed = event("end", outcome="failed", message="Rank {rank}.", values={"rank": 9})
    Console(LAB, out)(failed)
    assert out.getvalue() == "\nFailed: Rank 9.\n"


def test_an_event_of_an_unknown_kind_is_passed_over() -> None:
    out = io.StringIO()
    Console(LAB, out)(event("hologram"))
    assert out.getvalue() == ""


def test_json_is_one_object_for_each_event() -> None:
    out = io.StringIO()
    JsonLines(out)(event("metrics", step=1, values={"train/loss": "NaN"}))
    assert json.loads(out.getvalue())["values"] == {"train/loss": "NaN"}


def test_a_reader_that_goes_away_does_not_end_the_run() -> None:
    out = NobodyReads()
    follower = Follower(LAB, out, as_json=True)
    follower(event("metrics", step=1, values={}))
    follower(event("metrics", step=2, values={}))
    assert out.attempts == 1
