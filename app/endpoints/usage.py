"""What answers cost in tokens: read from what passes, added to the rows of keys in batches."""

import json
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from anyio import sleep
from anyio.to_thread import run_sync
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.database import transaction
from app.endpoints import keys

log = logging.getLogger(__name__)

COMMENT = b": usage "
MOST_TOKENS = 10**9
LONGEST_LINE = 4096
# The rows of keys are written at most so often, whatever the load.
PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written for one answer, or for many."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 1

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.requests + other.requests,
        )


def usage_of(told: Any) -> Usage:
    """Usage as an OpenAI answer tells it; what is no sensible number counts as none."""
    told = told if isinstance(told, dict) else {}
    return Usage(_count(told.get("prompt_tokens")), _count(told.get("completion_tokens")))


def usage_of_body(body: bytes) -> Usage:
    """Usage of an answer that came in one piece."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return Usage()
    return usage_of(told.get("usage") if isinstance(told, dict) else None)


def _count(value: Any) -> int:
    return min(value, MOST_TOKENS) if type(value) is int and value > 0 else 0


class StreamReader:
    """Finds the comment with the usage in a stream that passes, wherever its chunks are cut."""

    def __init__(self) -> None:
        self.usage = Usage()
        self._line = b""

    def read(self, chunk: bytes) -> None:
        *lines, rest = (self._line + chunk).split(b"\n")
        for line in lines:
            if line.startswith(COMMENT):
                self.usage = _parsed(line.removeprefix(COMMENT)) or self.usage
        # Of a longer line no more is needed than that it is none of ours.
        self._line = rest[:LONGEST_LINE]


def _parsed(text: bytes) -> Usage | None:
    try:
        return usage_of(json.loads(text))
    except (ValueError, RecursionError):
        return None


class Tally:
    """Uses that wait to be written. One request at a time writes for all that came meanwhile."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, Usage] = {}
        self._lock = threading.Lock()
        self._writing = False
        self._written_at = float("-inf")

    async def add(self, key_id: UUID, usage: Usage) -> None:
        with self._lock:
            before = self._waiting.get(key_id)
            self._waiting[key_id] = before + usage if before else usage
            if self._writing:
                return
            self._writing = True
        try:
            while self._has_more():
                await sleep(max(0.0, self._written_at + PAUSE_SECONDS - time.monotonic()))
                await run_sync(self._write)
        except BaseException:
            self._writing = False
            raise

    def _has_more(self) -> bool:
        with self._lock:
            self._writing = bool(self._waiting)
            return self._writing

    def _write(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, {}
        self._written_at = time.monotonic()
        try:
            with transaction() as session:
                for key_id, use in taken.items():
                    keys.add_use(
                        session,
                        key_id,
                        use.requests,
                        use.prompt_tokens,
                        use.completion_tokens,
                        clock.now(),
                    )
        except SQLAlchemyError as error:
            # What was used is worth less than the answers; they have been given already.
            log.warning("the use of %s keys was not noted: %s", len(taken), type(error).__name__)


tally = Tally()
