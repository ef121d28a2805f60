"""Memory predicted and measured, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.metrics.store import LatestValue
from app.models import Attempt, Run
from app.runs.parts import Part, parts_of

Json = dict[str, Any]
TRAINER_PEAK = "memory/peak_bytes"
MOST_BYTES = 2**62


@dataclass(frozen=True, slots=True)
class MemoryCard:
    """What was estimated and what was measured. Rendered by runs/show/_costs.html.

    `peak` is what the process was seen to hold from outside: on a GPU its memory there, on a CPU
    pages of its own. `tensors` is the trainer's own figure, of tensors on a GPU alone.
    """

    kind: str
    parts: Sequence[Part]
    predicted: int | None
    corrected: int | None
    reserved: int
    measured_runs: int
    peak: int | None
    tensors: int | None
    ratio: float | None
    scale: int
    is_live: bool

    def as_json(self) -> Json:
        return {
            "predicted_bytes": self.predicted,
            "parts": {part.name: part.bytes for part in self.parts},
            "corrected_bytes": self.corrected,
            "reserved_bytes": self.reserved,
            "measured_peak_bytes": self.peak,
            "measured_tensor_bytes": self.tensors,
            "ratio": self.ratio,
        }


def memory_card(
    run: Run, attempts: Sequence[Attempt], values: Mapping[str, LatestValue]
) -> MemoryCard:
    estimate = run.estimate
    predicted = estimate.get("predicted_bytes")
    seen = [each.peak_memory_bytes for each in attempts if each.peak_memory_bytes]
    peak = max([*seen, run.peak_memory_bytes or 0]) or None
    reserved = run.memory_bytes
    tensors = values.get(TRAINER_PEAK)
    return MemoryCard(
        kind=estimate.get("device_kind", "cpu"),
        parts=parts_of(estimate.get("parts", {})),
        predicted=predicted,
        corrected=estimate.get("corrected_bytes"),
        reserved=reserved,
        measured_runs=estimate.get("measured_runs", 0),
        peak=peak,
        tensors=_bytes(tensors.maximum) if tensors else None,
        ratio=peak / predicted if peak and predicted else None,
        scale=max(reserved, peak or 0, predicted or 0, 1),
        is_live=run.state.is_live,
    )


def _bytes(value: float | None) -> int | None:
    """What a trainer measured, where it is a size that a machine could have."""
    return int(value) if value is not None and 0 <= value <= MOST_BYTES else None
