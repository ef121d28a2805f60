"""The end of a run's log file."""

import re
from dataclasses import dataclass
from uuid import UUID

from app.settings import get_settings

TAIL_BYTES = 48 * 1024
CONTROL = re.compile(r"[^\n]*\r(?!\n)|\x1b\[[0-9;]*[A-Za-z]|\r")


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last lines, and where in the file they end: a stream continues there."""

    text: str
    end: int


def log_tail(run_id: UUID) -> LogTail:
    """The end of `output.log`; nothing before the run has started."""
    path = get_settings().run_dir(run_id) / "output.log"
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return LogTail("", 0)
    return LogTail(_settled(text if size <= TAIL_BYTES else text.partition("\n")[2]), size)


def _settled(text: str) -> str:
    """As a terminal would show it in the end: lines that were overwritten, and colours, gone."""
    return CONTROL.sub("", text)
