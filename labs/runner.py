"""A lab without any server: the stages run in this very process. Imports no torch at the top."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from labs.contract import Json
from labs.trainer import Outcome, StopFlag, run_attempt


def run_in_process(run_dir: Path, on_event: Callable[[Json], None]) -> Outcome:
    """Run what `params.json` describes, and call `on_event` with each event.

    SIGINT and SIGTERM save a checkpoint and stop; a second SIGINT stops at once.
    """
    stop = StopFlag()
    with _signals(stop):
        return run_attempt(run_dir, stop, on_event)


@contextmanager
def diverted_output(log: Path) -> Iterator[TextIO]:
    """Send what libraries print to a file; yields the real standard output.

    Works on the file descriptors, so compiled code is diverted as well.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)
    terminal = os.fdopen(os.dup(kept[0]), "w", encoding=sys.stdout.encoding or "utf-8")
    try:
        yield terminal
    finally:
        with suppress(BrokenPipeError):
            terminal.close()
        sys.stdout.flush()
        for stream, original in zip((1, 2), kept, strict=True):
            os.dup2(original, stream)
            os.close(original)


@contextmanager
def _signals(stop: StopFlag) -> Iterator[None]:
    def asked(*_: object) -> None:
        if stop():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
