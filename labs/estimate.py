"""Memory and time of a run before it is queued, from config.json alone. Imports no torch.

Everything here is an estimate and is labelled as one wherever it is shown. Memory counts what
is allocated (labs/footprint.py); the constants of speed are rough, so time is given as a range.
"""

from dataclasses import dataclass, field
from math import ceil

from labs.common.params import TrainingParams
from labs.compression.common.costs import compression_parts, compression_work
from labs.compression.common.params import CompressionParams
from labs.contract import Json, Lab, Params
from labs.footprint import (
    LIBRARY_BYTES,
    Device,
    Lengths,
    training_parts,
    weight_bytes,
)
from labs.models import ModelFacts
from labs.variants import memory_changes

__all__ = ["Alternative", "Device", "Estimate", "Lengths", "Note", "alternatives", "estimate"]

# Raised whenever a formula changes: what was learned about earlier ones no longer counts.
FORMULA = 3
# Memory must do for the longest rows; time goes by rows as they usually are.
ASSUMED_FILL = 0.35
EVALUATION_ROWS = 128
QUESTIONS = 64
LATENCY_TOKENS = 2 * 105 * 8
DEFAULT_ANSWER_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Speed:
    """What a device does, roughly; `overhead` is the least time of one layer's kernels."""

    flops: float
    overhead_seconds: float
    start_seconds: float


# Rough figures for two laptop cores and for one data-centre GPU; the range covers the rest.
SPEEDS = {
    "cpu": Speed(flops=6e10, overhead_seconds=4e-4, start_seconds=8.0),
    "cuda": Speed(flops=4e13, overhead_seconds=3e-4, start_seconds=12.0),
}
FASTEST, SLOWEST = 0.5, 2.5


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence beside the figures, as template and values."""

    message: str
    values: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Memory by part in bytes, and time as a range in seconds."""

    parts: dict[str, int]
    seconds_low: float
    seconds_high: float
    notes: tuple[Note, ...] = ()

    @property
    def total_bytes(self) -> int:
        """All parts together: what must fit at the peak."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Alternative:
    """The same training in another shape: what changes, and what it would take."""

    name: str
    title: str
    changes: Json
    estimate: Estimate


def estimate(
    lab: Lab, facts: ModelFacts, params: Params, device: Device, lengths: Lengths | None = None
) -> Estimate:
    """What a run would take.

    A lab shapes its estimate through its parameters: `trainable_parameters`,
    `bits_per_weight` and `kept_beside`; one on compression as `labs.compression.common.costs`
    says. Parameters of any other lab count as inference only; with a method
    `memory_beside(facts, device)` each may name further parts. Without `lengths` every row is
    taken to be as long as it may be.
    """
    notes = [Note("Estimated from config.json, not measured.")]
    if isinstance(params, CompressionParams):
        longest = lengths.longest if lengths else None
        parts = compression_parts(facts, params, LIBRARY_BYTES[device], device, longest)
        work = compression_work(facts, params)
        low, high = _range(
            _start_seconds(device) + _seconds(facts, work.flops, work.passes, device)
        )
        return Estimate(parts, low, high, tuple(notes))
    if not isinstance(params, TrainingParams):
        parts = {"weights": weight_bytes(facts, 16), "library": LIBRARY_BYTES[device]}
        low, high = _range(_start_seconds(device) + _latency_seconds(facts, device))
        # Time that parameters set, such as how long an endpoint waits.
        own = float(getattr(params, "own_seconds", 0.0))
        parts |= _beside(facts, params, device)
        return Estimate(parts, low + own, high + own, tuple(notes))
    if params.epochs is not None:
        notes.append(
            Note("The time is for {steps} steps; epochs will decide.", {"steps": params.steps})
        )
    low, high = _range(_training_seconds(facts, params, device, lengths))
    parts = training_parts(lab, facts, params, device, lengths)
    return Estimate(parts | _beside(facts, params, device), low, high, tuple(notes))


def _beside(facts: ModelFacts, params: Params, device: Device) -> dict[str, int]:
    """Parts that a lab holds and no formula here knows of, such as a teacher."""
    named = getattr(params, "memory_beside", None)
    return dict(named(facts, device)) if named else {}


def alternatives(
    lab: Lab,
    facts: ModelFacts,
    params: Params,
    device: Device,
    fits_bytes: int | None = None,
    lengths: Lengths | None = None,
) -> list[Alternative]:
    """Changes that save memory, smallest loss first; with a limit, only those that fit it."""
    limit = estimate(lab, facts, params, device, lengths).total_bytes - 1
    if fits_bytes is not None:
        limit = min(limit, fits_bytes)
    found = [
        Alternative(name, title, changes, estimate(lab, facts, changed, device, lengths))
        for name, title, changes in memory_changes(params, lengths.longest if lengths else None)
        if (changed := _changed(params, changes)) is not None
        and lab.accepts.refuse(facts, changed) is None
    ]
    return [option for option in found if option.estimate.total_bytes <= limit]


def _changed(params: Params, changes: Json) -> Params | None:
    """The parameters with changes, or None where they do not go together."""
    try:
        return type(params).model_validate({**params.model_dump(), **changes})
    except ValueError:
        return None


def _training_seconds(
    facts: ModelFacts, params: TrainingParams, device: Device, lengths: Lengths | None
) -> float:
    row = _usual_tokens(params, lengths)
    tokens = params.batch_size * params.gradient_accumulation * row
    frozen = params.trainable_parameters(facts) < facts.parameters
    # Forward 2, backward through activations 2, gradients of the weights 2 where they are trained.
    flops = facts.parameters * (4 if frozen else 6) + (
        2 * facts.parameters if params.gradient_checkpointing else 0
    )
    passes = 3 * params.gradient_accumulation
    step = _seconds(facts, flops * tokens, passes, device)
    evaluations = 1 + params.steps // params.evaluation_interval + 1
    return (
        _start_seconds(device)
        + params.steps * step
        + evaluations * _evaluation_seconds(facts, params, row, device)
        + _latency_seconds(facts, device)
    )


def _usual_tokens(params: TrainingParams, lengths: Lengths | None) -> float:
    """A row of a batch, padded: between the dataset's mean and its longest."""
    if lengths is None:
        return params.tokens_before + params.max_length * ASSUMED_FILL
    longest = min(params.max_length, lengths.longest)
    return params.tokens_before + (min(longest, lengths.mean) + longest) / 2


def _evaluation_seconds(
    facts: ModelFacts, params: TrainingParams, row: float, device: Device
) -> float:
    tokens = (EVALUATION_ROWS + QUESTIONS) * row
    rows = params.evaluated_at_once
    passes = ceil(EVALUATION_ROWS / rows) + ceil(QUESTIONS / rows) * DEFAULT_ANSWER_TOKENS
    return _seconds(facts, 2 * facts.parameters * tokens, passes, device)


def _latency_seconds(facts: ModelFacts, device: Device) -> float:
    return _seconds(facts, 2.0 * facts.parameters * LATENCY_TOKENS, LATENCY_TOKENS, device)


def _seconds(facts: ModelFacts, flops: float, passes: float, device: Device) -> float:
    speed = SPEEDS[device]
    return flops / speed.flops + passes * facts.layers * speed.overhead_seconds


def _start_seconds(device: Device) -> float:
    return SPEEDS[device].start_seconds


def _range(seconds: float) -> tuple[float, float]:
    return seconds * FASTEST, seconds * SLOWEST
