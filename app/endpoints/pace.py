"""How much one key, or one person at a page, may ask at once and in a minute."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from app.endpoints.refusals import TooFast
from app.i18n import N_

PER_MINUTE = 600
AT_ONCE = 16
REMEMBERED = 4096
MINUTE_SECONDS = 60.0


class Pace:
    """A bucket for each asker that fills evenly: a burst of a minute's requests, then a trickle.

    Kept in this process only and used by its event loop alone: it spares a trainer a flood, it
    bills nobody.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[UUID, tuple[float, float]] = OrderedDict()
        self._open = Counter[UUID]()

    @contextmanager
    def turn(self, asker: UUID) -> Iterator[None]:
        """Hold one of the asker's turns while a request is answered; `TooFast` without one."""
        if self._open[asker] >= AT_ONCE:
            raise TooFast(N_("Only {count} requests at once, please."), count=AT_ONCE)
        self._take(asker)
        self._open[asker] += 1
        try:
            yield
        finally:
            self._open[asker] -= 1
            if not self._open[asker]:
                del self._open[asker]

    def _take(self, asker: UUID) -> None:
        now = self._clock()
        left, at = self._buckets.pop(asker, (float(PER_MINUTE), now))
        left = min(PER_MINUTE, left + (now - at) * PER_MINUTE / MINUTE_SECONDS)
        self._buckets[asker] = (max(left - 1, 0.0) if left >= 1 else left, now)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if left < 1:
            raise TooFast(N_("Only {count} requests a minute, please."), count=PER_MINUTE)


pace = Pace()
