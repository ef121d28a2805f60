"""What the times of answers say: percentiles, rates, and Little's law. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer as its client saw it: when it asked, and when each piece of text came, in seconds
    of one clock. `tokens` is what the endpoint counted."""

    asked_at: float
    pieces_at: tuple[float, ...]
    tokens: int
    ended_at: float

    @property
    def first_token(self) -> float:
        """Seconds from asking to the first piece: waiting, then reading the prompt."""
        return self.pieces_at[0] - self.asked_at

    @property
    def between(self) -> list[float]:
        """Seconds from each piece to the next."""
        return [b - a for a, b in zip(self.pieces_at, self.pieces_at[1:], strict=False)]

    @property
    def total(self) -> float:
        """Seconds from asking to the end of the answer."""
        return self.ended_at - self.asked_at


@dataclass(frozen=True, slots=True)
class Level:
    """All answers at one concurrency. `seconds` is from the first request to the last end."""

    concurrency: int
    seconds: float
    timings: tuple[Timing, ...]
    errors: int

    @property
    def tokens(self) -> int:
        return sum(each.tokens for each in self.timings)

    @property
    def tokens_per_second(self) -> float:
        """Of all clients together."""
        return self.tokens / self.seconds

    @property
    def requests_per_second(self) -> float:
        return len(self.timings) / self.seconds

    @property
    def mean_under_way(self) -> float:
        """Requests under way, as Little's law has it: their rate times their mean time."""
        return self.requests_per_second * mean([each.total for each in self.timings])

    def totals(self) -> list[float]:
        return [each.total for each in self.timings]

    def first_tokens(self) -> list[float]:
        return [each.first_token for each in self.timings]

    def between(self) -> list[float]:
        return [gap for each in self.timings for gap in each.between]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all are at most, between two neighbours in proportion.

    As numpy and torch compute quantiles; 0 of nothing.
    """
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
