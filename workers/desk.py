"""What a worker has in hand: each attempt once, whoever brought it, at most `slots` at a time."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

log = logging.getLogger(__name__)
Key = tuple[UUID, int]


class Desk:
    """Carries attempts out in threads of its own.

    Bells and looks both bring attempts here. One that is in hand is not taken twice, so an
    attempt never has two supervisors.
    """

    def __init__(self, slots: int, carry_out: Callable[[UUID, int], None]) -> None:
        self._carry_out = carry_out
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="attempt")
        self._lock = threading.Lock()
        self._in_hand: set[Key] = set()
        self._closed = False

    def take(self, run_id: UUID, attempt: int) -> bool:
        """Carry an attempt out as soon as a thread is free; False if it is in hand already."""
        key = (run_id, attempt)
        with self._lock:
            if self._closed or key in self._in_hand:
                return False
            self._in_hand.add(key)
            self._pool.submit(self._do, key)
        return True

    @property
    def is_idle(self) -> bool:
        return not self._in_hand

    def close(self) -> None:
        """Take nothing more, and wait for what has been started."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _do(self, key: Key) -> None:
        try:
            self._carry_out(*key)
        except Exception:
            # The border of this thread. The lease ends, and the housekeeper gives the run back.
            log.exception("run %s, attempt %d: its supervisor failed", *key)
        finally:
            with self._lock:
                self._in_hand.discard(key)
