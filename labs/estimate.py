"""Memory and time of a run before it is queued, from config.json alone. Imports no torch.

Everything here is an estimate and is labelled as one wherever it is shown. The formulas
count what is allocated; the constants of speed are rough, so time is given as a range.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from labs.common.params import TrainingParams
from labs.contract import N_, Json, Lab, Params
from labs.models import ModelFacts

Device = Literal["cpu", "cuda"]

# AdamW: two moments in float32 for each trained number.
MOMENT_BYTES = 8
GRADIENT_BYTES = 4
TRAINED_BYTES = 4
# What torch, transformers and a CUDA context hold before the first tensor.
LIBRARY_BYTES = {"cpu": 480 << 20, "cuda": 600 << 20}
# Tensors kept for the backward pass, in units of (tokens × width), for each layer of a
# decoder with gated feed-forward and fused attention: norms, residuals, queries, output.
KEPT_HIDDEN = 8
KEPT_INNER = 4
# How many of the tokens are answers, when prompts are masked.
TARGET_SHARE = 0.25
# Merging loads the base in float32 up to this many parameters, in 16 bits above.
LARGEST_FLOAT32 = 1_500_000_000
# Memory must do for full rows; time goes by rows as they usually are.
USUAL_FILL = 0.35
EVALUATION_ROWS = 128
EVALUATION_BATCH = 32
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
class Lengths:
    """How long a dataset's rows are in tokens, before they are cut to the maximum length."""

    mean: float
    longest: int


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

    title: str
    changes: Json
    estimate: Estimate


def estimate(lab: Lab, facts: ModelFacts, params: Params, device: Device) -> Estimate:
    """What a run would take.

    A lab shapes its estimate through its parameters: `trainable_parameters` and
    `bits_per_weight`. Parameters of a lab that does not train count as inference only.
    """
    notes = [Note("Estimated from config.json, not measured.")]
    if not isinstance(params, TrainingParams):
        parts = {"weights": _weight_bytes(facts, 16), "library": LIBRARY_BYTES[device]}
        low, high = _range(_start_seconds(device) + _latency_seconds(facts, device))
        return Estimate(parts, low, high, tuple(notes))
    if params.epochs is not None:
        notes.append(
            Note("The time is for {steps} steps; epochs will decide.", {"steps": params.steps})
        )
    low, high = _range(_training_seconds(facts, params, device))
    parts = _training_parts(facts, params, device)
    if "merged" in lab.produces:
        parts["merging"] = max(0, _merge_bytes(facts, device) - sum(parts.values()))
    return Estimate(parts, low, high, tuple(notes))


def alternatives(
    lab: Lab, facts: ModelFacts, params: Params, device: Device, fits_bytes: int | None = None
) -> list[Alternative]:
    """Changes that save memory, smallest loss first; with a limit, only those that fit it."""
    found = [
        Alternative(title, changes, estimate(lab, facts, changed, device))
        for title, changes in _changes(params)
        if (changed := _changed(params, changes)) is not None
        and lab.accepts.refuse(facts, changed) is None
    ]
    if fits_bytes is None:
        return found
    return [option for option in found if option.estimate.total_bytes <= fits_bytes]


def _changes(params: Params) -> Iterator[tuple[str, Json]]:
    if not isinstance(params, TrainingParams):
        return
    halved: Json = {}
    if params.batch_size > 1:
        halved = {
            "batch_size": params.batch_size // 2,
            "gradient_accumulation": params.gradient_accumulation * 2,
        }
        yield N_("Half the batch, twice the accumulation: the same updates"), halved
    if not params.gradient_checkpointing:
        yield N_("Gradient checkpointing: a third more time"), {"gradient_checkpointing": True}
    if params.max_length >= 16:
        yield (
            N_("Half the length: long prompts lose their beginning"),
            {"max_length": params.max_length // 2},
        )
    if params.precision == "fp32":
        yield N_("bf16 weights and activations"), {"precision": "bf16"}
    if getattr(params, "base_quantization", "") == "none":
        small = {"base_quantization": "nf4", "double_quantization": True}
        yield N_("A base in 4-bit NF4 (QLoRA)"), small
        yield N_("All of it together"), {**halved, "gradient_checkpointing": True, **small}


def _changed(params: Params, changes: Json) -> Params | None:
    """The parameters with changes, or None where they do not go together."""
    try:
        return type(params).model_validate({**params.model_dump(), **changes})
    except ValueError:
        return None


def _training_parts(facts: ModelFacts, params: TrainingParams, device: Device) -> dict[str, int]:
    trained = params.trainable_parameters(facts)
    beside = trained if trained < facts.parameters else 0
    tokens = params.batch_size * params.max_length
    return {
        "weights": _weight_bytes(facts, params.bits_per_weight(facts)),
        "adapters": beside * TRAINED_BYTES,
        "gradients": trained * GRADIENT_BYTES,
        "optimizer": trained * MOMENT_BYTES,
        "activations": _activation_bytes(facts, params, tokens),
        "logits": _logit_bytes(facts, params, tokens),
        "library": LIBRARY_BYTES[device],
    }


def _merge_bytes(facts: ModelFacts, device: Device) -> int:
    """The last stage holds the base in full precision, whatever it was trained in."""
    bits = 32 if facts.parameters <= LARGEST_FLOAT32 else 16
    return _weight_bytes(facts, bits) + LIBRARY_BYTES[device]


def _weight_bytes(facts: ModelFacts, bits: float) -> int:
    return int(facts.parameters * bits / 8)


def _activation_bytes(facts: ModelFacts, params: TrainingParams, tokens: int) -> int:
    width = 4 if params.precision == "fp32" else 2
    keys = facts.kv_heads * facts.head_dim
    layer = KEPT_HIDDEN * facts.hidden_size + 2 * keys + KEPT_INNER * facts.intermediate_size
    if params.gradient_checkpointing:
        # The input of each layer, and one layer in full while it is computed again.
        return tokens * width * (facts.layers * facts.hidden_size + layer)
    return tokens * width * facts.layers * layer


def _logit_bytes(facts: ModelFacts, params: TrainingParams, tokens: int) -> int:
    """Logits and their gradient in the run's width, and a float32 copy of the targets' share."""
    width = 4 if params.precision == "fp32" else 2
    return int(tokens * facts.vocab_size * (2 * width + 4 * TARGET_SHARE))


def _training_seconds(facts: ModelFacts, params: TrainingParams, device: Device) -> float:
    tokens = params.batch_size * params.gradient_accumulation * params.max_length * USUAL_FILL
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
        + evaluations * _evaluation_seconds(facts, params, device)
        + _latency_seconds(facts, device)
    )


def _evaluation_seconds(facts: ModelFacts, params: TrainingParams, device: Device) -> float:
    tokens = (EVALUATION_ROWS + QUESTIONS) * params.max_length * USUAL_FILL
    passes = EVALUATION_ROWS // EVALUATION_BATCH + DEFAULT_ANSWER_TOKENS
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
