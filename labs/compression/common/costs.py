"""What a compression takes, by part and in operations, from config.json alone. Imports no torch.

A lab shapes its own through its parameters: `memory_beside`, `work`, `models_judged`, `left_bytes`.
"""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from labs.models import ModelFacts

if TYPE_CHECKING:
    from labs.compression.common.params import CompressionParams

# labs/common/data.py, labs/common/latency.py and labs/compression/common/throughput.py.
QUESTIONS = 128
ANSWER_TOKENS = 20
LATENCY_TOKENS = 105 * 8
THROUGHPUT_PASSES = 4 * 16
PROMPT_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations, and how often something goes through all layers."""

    flops: float = 0.0
    passes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.passes + other.passes)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.passes * times)


def compression_parts(
    facts: ModelFacts,
    params: "CompressionParams",
    library: int,
    device: str,
    longest: int | None = None,
) -> dict[str, int]:
    """Bytes by part; their sum must fit at the highest moment.

    `longest` is the longest row of the dataset in tokens, where that is known.

    The layers are compressed with all calibration blocks standing before one of them; afterwards
    each model is judged by itself. `evaluation` is what that takes beyond compressing.
    """
    width = bytes_of_number(params)
    parts = {
        "weights": facts.parameters * width,
        "calibration": calibration_bytes(facts, params),
        **params.memory_beside(facts, device),
        "library": library,
    }
    compressing = sum(parts.values()) - parts["weights"] - library
    parts["evaluation"] = max(0, judging_bytes(facts, params, longest) - compressing)
    return parts


def compression_work(facts: ModelFacts, params: "CompressionParams") -> Work:
    """The lab's own work, and all models judged one after another."""
    return params.work(facts) + judging_work(facts, params) * params.models_judged


def bytes_of_number(params: "CompressionParams") -> int:
    """Bytes of a number in the forward pass."""
    return 4 if params.precision == "fp32" else 2


def calibration_bytes(facts: ModelFacts, params: "CompressionParams") -> int:
    """All blocks before a layer with their rotary tables, and one block inside of it."""
    block = params.calibration_length * bytes_of_number(params)
    beside = facts.hidden_size + 2 * facts.head_dim
    return block * (params.calibration_samples * beside + _layer_numbers(facts))


def judging_bytes(
    facts: ModelFacts, params: "CompressionParams", longest: int | None = None
) -> int:
    """The most of: a window with its logits in float32 and their softmax; rows that are answered,
    with keys and values of prompt and answer."""
    width = bytes_of_number(params)
    window = params.evaluation_window
    seen = window * (_layer_numbers(facts) * width + facts.vocab_size * (width + 8))
    cached = 2 * facts.layers * facts.kv_heads * facts.head_dim
    length = min(params.max_length, longest or params.max_length)
    answered = length * (_layer_numbers(facts) + 2 * cached) + facts.vocab_size
    return max(seen, params.evaluated_at_once * answered * width)


def judging_work(facts: ModelFacts, params: "CompressionParams") -> Work:
    """Perplexity, answers, latency and throughput of one model."""
    windows = ceil(params.evaluation_tokens / params.evaluation_stride)
    batches = ceil(QUESTIONS / params.evaluated_at_once)
    read = windows * params.evaluation_window + QUESTIONS * PROMPT_SHARE * params.max_length
    said = QUESTIONS * ANSWER_TOKENS + LATENCY_TOKENS + THROUGHPUT_PASSES * 21
    passes = windows + batches * ANSWER_TOKENS + LATENCY_TOKENS + THROUGHPUT_PASSES * 3
    return Work(2.0 * facts.parameters * (read + said), passes)


def calibration_work(facts: ModelFacts, params: "CompressionParams") -> Work:
    """Every block through every layer twice: before the layer is changed, and after."""
    tokens = params.calibration_samples * params.calibration_length
    return Work(4.0 * inside_layers(facts) * tokens, 2.0 * params.calibration_samples)


def inside_layers(facts: ModelFacts) -> int:
    """Weights of the matrices inside the layers: what the labs on compression change."""
    return sum(m.count * m.inputs * m.outputs for m in facts.matrices.values())


def _layer_numbers(facts: ModelFacts) -> int:
    """Of a token inside a layer: its norms, attention, and the parts of the feed-forward."""
    return 4 * facts.hidden_size + 3 * facts.intermediate_size
