"""What must be true of a run, worked out without the code that is on trial."""

from dataclasses import dataclass, field
from typing import Any

from app.models import RunState

LOSS, SCORE = "train/loss", "eval/loss"


@dataclass(frozen=True)
class Line:
    """A line of the event log, as its trainer meant it."""

    attempt: int
    kind: str
    step: int
    values: dict[str, float] = field(default_factory=dict)

    def event(self) -> dict[str, Any]:
        said = {"kind": self.kind, "attempt": self.attempt, "t": 1.5, "step": self.step}
        return said | ({"values": self.values} if self.kind == "metrics" else {})


@dataclass
class Book:
    """One run, by a plain account of it."""

    lines: list[Line] = field(default_factory=list)
    taken: int = 0  # lines that were acknowledged, or refused for good
    boundary: dict[int, int] = field(default_factory=dict)  # lines when an attempt began
    points: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    checkpoint: int = 0  # the newest step that could be resumed from; 0 is none
    seconds: dict[int, float] = field(default_factory=dict)  # counted by each attempt
    ended: RunState | None = None
    highest: int = 0
    artifacts: int = 0

    def take(self, attempt: int) -> None:
        """The lines up to the end were acknowledged under this attempt."""
        for at in range(self.taken, len(self.lines)):
            line = self.lines[at]
            superseded = any(earlier.attempt > line.attempt for earlier in self.lines[:at])
            inherited = at < self.boundary[attempt] and not superseded
            if line.attempt == attempt or inherited:
                self._acknowledge(line)
        self.taken = len(self.lines)

    def _acknowledge(self, line: Line) -> None:
        if line.kind == "resumed":
            self.points = {at: point for at, point in self.points.items() if at[1] <= line.step}
        for key, value in line.values.items():
            again = [
                at
                for at, (writer, _) in self.points.items()
                if at[0] == key and at[1] >= line.step and writer < line.attempt
            ]
            for at in again:
                del self.points[at]
            self.points[key, line.step] = (line.attempt, value)

    def series(self, key: str) -> list[tuple[int, float]]:
        """The points of a key that must be readable, by step."""
        return sorted(
            (step, value) for (name, step), (_, value) in self.points.items() if name == key
        )
