"""What an engine is asked and what it gives back, in the same words for each. Imports no torch."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

Finish = Literal["", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: token ids to continue, and how. Temperature 0 always takes the likeliest token."""

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    # An answer goes on past its end token: load tests compare answers of equal length.
    ignore_end: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Piece:
    """More of an answer: its text, how many tokens there are so far, and whether it is over.

    The end token is counted, as a model computes it like any other. Text may come later than its
    tokens: some tokens are parts of a character.
    """

    text: str
    tokens: int
    finish: Finish = ""


Tell = Callable[[Piece], None]


class Engine(Protocol):
    """What computes answers. Several threads may ask at once."""

    name: str

    def answer(self, asked: Asked, tell: Tell) -> None:
        """Compute an answer, telling each piece as it comes; the last one has a `finish`.

        Returns early, without such a piece, once `asked.cancelled` is set.
        """

    def memory_bytes(self) -> int:
        """The most memory that it has taken so far."""

    def close(self) -> None:
        """Stop and give everything back; answers under way are cut off."""


class EngineFailed(Exception):
    """An engine could not answer."""
