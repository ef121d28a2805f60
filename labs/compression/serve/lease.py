"""How long an endpoint stays open, and what it has done. Imports no torch."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["starting", "testing", "open", "closed"]


@dataclass(frozen=True, slots=True)
class Status:
    """An endpoint at one moment. `closes_in_seconds` is None before it is open."""

    state: State
    active: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    idle_seconds: float
    closes_in_seconds: float | None

    def json(self) -> dict[str, object]:
        """As the routes give it."""
        return asdict(self)


class Lease:
    """Open until nobody wants it any more: `wait` without a first request, `idle` after the last
    one, `longest` in any case.

    Only what comes in while it is open counts; the load test's own requests do not. Several
    threads may call it.
    """

    def __init__(
        self,
        wait: float,
        idle: float,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wait, self._idle, self._longest, self._clock = wait, idle, longest, clock
        self._lock = threading.Lock()
        self._state: State = "starting"
        self._opened_at = self._used_at = clock()
        self._extended_to = 0.0
        self._active = self._requests = self._prompt = self._completion = 0

    @property
    def state(self) -> State:
        return self._state

    def enter(self, state: State) -> None:
        """Go on to the next state; what was closed stays closed."""
        with self._lock:
            if self._state == "closed":
                return
            self._state = state
            if state == "open":
                self._opened_at = self._used_at = self._clock()
                self._requests = self._prompt = self._completion = 0

    def begin(self) -> None:
        """A request came in."""
        with self._lock:
            self._active += 1
            self._requests += 1

    def end(self, prompt_tokens: int, completion_tokens: int) -> None:
        """It is answered, or its client is gone."""
        with self._lock:
            self._active -= 1
            self._prompt += prompt_tokens
            self._completion += completion_tokens
            self._used_at = self._clock()

    def extend(self, seconds: float) -> None:
        """Stay open for at least so long from now, yet never beyond the longest time."""
        with self._lock:
            self._extended_to = max(self._extended_to, self._clock() + seconds)

    def close(self) -> None:
        """It is over; nothing opens it again."""
        with self._lock:
            self._state = "closed"

    def status(self) -> Status:
        """Everything that is known, of one moment."""
        with self._lock:
            now = self._clock()
            return Status(
                self._state,
                self._active,
                self._requests,
                self._prompt,
                self._completion,
                0.0 if self._active else now - self._used_at,
                self._closes_in(now),
            )

    def _closes_in(self, now: float) -> float | None:
        if self._state == "closed":
            return 0.0
        if self._state != "open":
            return None
        last = self._opened_at + self._longest
        patience = self._idle if self._requests else self._wait
        wanted = last if self._active else max(self._used_at + patience, self._extended_to)
        return max(0.0, min(last, wanted) - now)
