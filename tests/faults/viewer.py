"""A page that watches a run: it reads the stream of events and comes back after every cut."""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any
from uuid import UUID

import httpx2

from tests.faults.box import Box
from tests.faults.patience import eventually

# All others are kept in the table of events, each with a number of its own.
UNNUMBERED = frozenset({"points", "log", "progress", "queue", "end"})
PAUSE_SECONDS = 0.1
SILENCE_SECONDS = 20.0


class Viewer:
    """Listens from its start to the run's end, like a browser that resumes by `Last-Event-ID`."""

    def __init__(self, box: Box, run_id: UUID) -> None:
        self._headers = {"Authorization": f"Bearer {box.token}"}
        self._url = f"{box.url}/api/v1/runs/{run_id}/events"
        self._last_id = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="viewer", daemon=True)
        self.connections = 0
        self.numbers: list[int] = []
        self.chart: dict[str, dict[int, float]] = defaultdict(dict)
        # How often each point was told: (key, step).
        self.told = Counter[tuple[str, int]]()
        self.saw_the_end = False

    def __enter__(self) -> "Viewer":
        self._thread.start()
        eventually(lambda: self.connections, "the stream did not open")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                eventually(lambda: self.saw_the_end, "the page was not told of the end")
        finally:
            self._over.set()
            self._thread.join(timeout=SILENCE_SECONDS + 5)

    def _watch(self) -> None:
        while not self._over.is_set() and not self.saw_the_end:
            # Cut off, or nobody there: a browser tries again as well.
            with suppress(httpx2.HTTPError):
                self._listen()
            self._over.wait(PAUSE_SECONDS)

    def _listen(self) -> None:
        headers = {**self._headers, "Last-Event-ID": self._last_id}
        with httpx2.stream("GET", self._url, headers=headers, timeout=SILENCE_SECONDS) as response:
            if response.status_code != 200:
                return
            self.connections += 1
            for name, data, identity in _events(response.iter_lines()):
                self._last_id = identity
                self._take(name, data, identity)
                if self._over.is_set() or self.saw_the_end:
                    return

    def _take(self, name: str, data: dict[str, Any], identity: str) -> None:
        if name not in UNNUMBERED:
            self.numbers.append(int(identity.split(".")[1]))
        if name == "rewind":
            for series in self.chart.values():
                for step in [step for step in series if step > data["step"]]:
                    del series[step]
        elif name == "points":
            self._draw(data["series"])
        elif name == "end":
            self.saw_the_end = True

    def _draw(self, series: dict[str, Any]) -> None:
        for key, columns in series.items():
            for step, value in zip(columns["steps"], columns["values"], strict=True):
                self.told[key, step] += 1
                self.chart[key][step] = value


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], json.loads(fields["data"]), fields["id"]
            fields = {}
