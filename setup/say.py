"""What the setup tells a person: each step, its progress and its seconds, on standard error."""

import itertools
import sys
import threading
import time
from types import TracebackType
from typing import Self

PLAIN_EVERY_SECONDS = 15.0
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class SetupFailed(Exception):
    """The machine lacks something. The sentence says what, and how to get it."""


class SetupKilled(SetupFailed):
    """A program of the setup was ended from outside; what it wrote may be half done."""


class Step:
    """One step of the setup: a spinner in a terminal, plain lines anywhere else."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.note = ""
        self._started = time.monotonic()
        self._over = threading.Event()
        self._live = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if not self._live:
            self._line(f"{self.title} ...")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        verdict = "done" if error is None else "failed"
        self._line(f"{self.title}: {verdict} after {self._seconds():.0f} s")

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _tick(self) -> None:
        frames = itertools.cycle(FRAMES)
        while not self._over.wait(0.1 if self._live else PLAIN_EVERY_SECONDS):
            text = f"{self.title}, {self._seconds():.0f} s  {self.note}".rstrip()
            if self._live:
                sys.stderr.write(f"\r\033[K{next(frames)} {text[:110]}")
                sys.stderr.flush()
            else:
                self._line(f"  {text[:150]}")

    def _line(self, text: str) -> None:
        start = "\r\033[K" if self._live else ""
        sys.stderr.write(f"{start}{text}\n")
        sys.stderr.flush()
