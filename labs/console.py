"""Events of a run as lines and bars in a terminal, or as JSON. Imports no torch."""

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from labs.contract import Json, Lab

BAR_WIDTH = 28
CLEAR_LINE = "\r\x1b[2K"
ASCII_BAR = ("#", "-")
UNICODE_BAR = ("█", "░")


class JsonLines:
    """Writes each event as one JSON object."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: Json) -> None:
        self._out.write(json.dumps(event, ensure_ascii=False) + "\n")
        self._out.flush()


class Console:
    """Writes what a person wants to follow; bars only where a terminal can redraw a line."""

    def __init__(self, lab: Lab, out: TextIO) -> None:
        self._lab = lab
        self._out = out
        self._live = out.isatty()
        self._bar_shown = False
        encoding = (out.encoding or "").lower()
        self._blocks = UNICODE_BAR if encoding.startswith("utf") else ASCII_BAR

    def __call__(self, event: Json) -> None:
        handler = getattr(self, f"_on_{event['kind']}", None)
        if handler is not None:
            handler(event)

    def _on_environment(self, event: Json) -> None:
        self._line(
            f"{self._lab.title}\n{event['device_name']}, {event['threads']} threads, "
            f"torch {event['torch']}, code {event['code_version']}"
        )

    def _on_stage(self, event: Json) -> None:
        title = self._lab.stage(event["stage"]).title
        if event["status"] == "started":
            self._line(f"\n{title}")
        elif event["status"] == "skipped":
            self._line(f"\n{title}: completed by an earlier attempt")
        else:
            self._line(f"  done in {event['seconds']:.1f} s")

    def _on_progress(self, event: Json) -> None:
        if not self._live:
            return
        share = event["done"] / event["total"] if event["total"] else 0.0
        full = round(share * BAR_WIDTH)
        filled, empty = self._blocks
        bar = filled * full + empty * (BAR_WIDTH - full)
        self._out.write(f"{CLEAR_LINE}  {bar} {share:4.0%}  {event['note']}")
        self._out.flush()
        self._bar_shown = True

    def _on_metrics(self, event: Json) -> None:
        shown = {k: v for k, v in event["values"].items() if not k.startswith(("train/", "time/"))}
        measured = {k: v for k, v in shown.items() if k.startswith(("eval/", "test/", "merge/"))}
        if measured:
            self._line(f"  step {event['step']:>5}  {self._values(measured)}")

    def _on_resumed(self, event: Json) -> None:
        self._line(f"  going on after step {event['step']}")

    def _on_artifact(self, event: Json) -> None:
        self._line(f"  saved {event['path']} ({event['bytes'] / 1e6:.2f} MB)")

    def _on_table(self, event: Json) -> None:
        self._line(f"\n  {event['title']}")
        titles = [
            f"{column['title']} ({column['unit']})" if column["unit"] else column["title"]
            for column in event["columns"]
        ]
        rows = [titles, *([_cell(value) for value in row] for row in event["rows"])]
        widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._line("    " + "  ".join(cells).rstrip())

    def _on_samples(self, event: Json) -> None:
        if event["name"] != "side_by_side":
            return
        self._line(f"\n  {event['title']}")
        for row in event["rows"][:3]:
            for column in event["columns"]:
                text = str(row.get(column["key"], "")).replace("\n", " ")
                self._line(f"    {column['title']:<9} {text[:100]}")
            self._line("")

    def _on_end(self, event: Json) -> None:
        message = event.get("message", "").format(**event.get("values", {}))
        words = {"succeeded": "Succeeded.", "stopped": "Stopped.", "failed": f"Failed: {message}"}
        self._line(f"\n{words[event['outcome']]}")

    def _values(self, values: Mapping[str, Any]) -> str:
        return "  ".join(f"{key} {_cell(value)}" for key, value in values.items())

    def _line(self, text: str) -> None:
        if self._bar_shown:
            self._out.write(CLEAR_LINE)
            self._bar_shown = False
        self._out.write(f"{text}\n")
        self._out.flush()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else "–" if value is None else str(value)


class Follower:
    """What to call with each event of a run; goes quiet when nobody reads any more."""

    def __init__(self, lab: Lab, out: TextIO, as_json: bool) -> None:
        self._show = JsonLines(out) if as_json else Console(lab, out)
        self._read = True

    def __call__(self, event: Json) -> None:
        if not self._read:
            return
        try:
            self._show(event)
        except BrokenPipeError:
            # `| head` has seen enough; the run goes on.
            self._read = False


def say(text: str) -> None:
    """A sentence for the person, apart from what a script reads."""
    sys.stderr.write(f"{text}\n")
