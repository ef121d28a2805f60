"""The memory of a training by part, from config.json, parameters and row lengths. Imports no torch.

What autograd keeps was counted with `torch.autograd.graph.saved_tensors_hooks` on decoders with
gated feed-forward and fused attention (Qwen2, Llama), after the scheme of Korthikanti et al.,
"Reducing Activation Recomputation in Large Transformer Models" (2022, arXiv:2205.05198): numbers
per token and layer. NF4 as in Dettmers et al. (2023, arXiv:2305.14314).
"""

from dataclasses import dataclass
from typing import Literal

from labs.common.params import SPARE_TOKENS, TrainingParams
from labs.contract import Lab
from labs.models import ModelFacts

Device = Literal["cpu", "cuda"]
MIB = 1 << 20

GRADIENT_BYTES = 4
TRAINED_BYTES = 4
# AdamW: two moments in float32 for each trained number (Loshchilov and Hutter, 2019).
MOMENT_BYTES = 8
# The copy of the best weights that training keeps in main memory.
BEST_BYTES = {"cpu": 4, "cuda": 0}
# What a run holds before and beside its tensors. On a CPU: pages of Python, torch and the dataset
# that a trainer has of its own (those of the forkserver are shared by all). On a GPU: the CUDA
# context, kernels, cuBLAS.
LIBRARY_BYTES = {"cpu": 110 * MIB, "cuda": 600 * MIB}
# glibc keeps holes between the large aligned blocks that a training step allocates and frees:
# 1.1 GB of tensors, counted one by one, were 1.6 to 2.6 GB of pages (benchmarks/estimate.py).
# The caching allocator of a GPU rounds and splits; that is left to correction and margin.
FRAGMENTS = {"cpu": 0.7, "cuda": 0.0}
# Merging loads the base in float32 up to this many parameters, in 16 bits above.
LARGEST_FLOAT32 = 1_500_000_000
# How many of the tokens are answers, when prompts are masked and nothing is known of the rows.
ANSWERS = 0.25
# labs/common/agreement.py: logits in float32 of some positions, before and after merging.
COMPARED_LOGITS = 2 * 8 * 32


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long a dataset's rows are in tokens, before they are cut to the maximum length.

    `answers` is the share of the tokens that are learned: prompts are masked.
    """

    mean: float
    longest: int
    answers: float = ANSWERS


def training_parts(
    lab: Lab, facts: ModelFacts, params: TrainingParams, device: Device, lengths: Lengths | None
) -> dict[str, int]:
    """Bytes by part; their sum is what must fit at the highest moment of the run.

    `evaluation` and `merging` are what those moments take beyond the training itself.
    """
    trained = params.trainable_parameters(facts)
    beside = trained if trained < facts.parameters else 0
    longest = row_tokens(params, lengths)
    tokens = params.batch_size * longest
    share = lengths.answers if lengths else ANSWERS
    parts = {
        "weights": weight_bytes(facts, params.bits_per_weight(facts)),
        "adapters": beside * TRAINED_BYTES,
        "gradients": trained * GRADIENT_BYTES,
        "optimizer": trained * MOMENT_BYTES,
        "best": trained * BEST_BYTES[device],
        "activations": _activation_bytes(facts, params, tokens, longest),
        "logits": _logit_bytes(facts, params, tokens, share),
        "library": LIBRARY_BYTES[device],
    }
    seen = parts["activations"] + parts["logits"]
    parts["fragments"] = int(seen * FRAGMENTS[device])
    evaluation = _evaluation_bytes(facts, params, longest, share)
    parts["evaluation"] = max(0, evaluation - seen - parts["fragments"])
    if "merged" in lab.produces:
        parts["merging"] = max(0, _merge_bytes(facts, device) - sum(parts.values()))
    return parts


def row_tokens(params: TrainingParams, lengths: Lengths | None) -> int:
    """The longest row that a batch may hold, after cutting, with the virtual tokens before it."""
    longest = min(params.max_length, lengths.longest) if lengths else params.max_length
    return longest + params.tokens_before


def weight_bytes(facts: ModelFacts, bits: float) -> int:
    """All weights at so many bits each."""
    return int(facts.parameters * bits / 8)


def width_of(params: TrainingParams) -> int:
    """Bytes of a number in the forward pass."""
    return 4 if params.precision == "fp32" else 2


def _merge_bytes(facts: ModelFacts, device: Device) -> int:
    """The last stage holds the base in full precision, whatever it was trained in."""
    bits = 32 if facts.parameters <= LARGEST_FLOAT32 else 16
    compared = 4 * COMPARED_LOGITS * facts.vocab_size if device == "cpu" else 0
    return weight_bytes(facts, bits) + LIBRARY_BYTES[device] + compared


def _activation_bytes(facts: ModelFacts, params: TrainingParams, tokens: int, longest: int) -> int:
    """What the backward pass reads again, for each token of a batch."""
    width = width_of(params)
    layer = _layer_bytes(facts, width, longest)
    beside, fixed = params.kept_beside(facts)
    if params.gradient_checkpointing:
        # The input of each layer, and one layer in full while it is computed again.
        inputs = (facts.layers + 1) * facts.hidden_size * width
        whole = tokens * (inputs + layer + beside * width / facts.layers)
        return int(whole + fixed * TRAINED_BYTES / facts.layers)
    return int(tokens * (facts.layers * layer + beside * width) + fixed * TRAINED_BYTES)


def _layer_bytes(facts: ModelFacts, width: int, longest: int) -> int:
    """One layer and token: both norms and their outputs, q, k, v, attention's output, and in the
    feed-forward gate, activation, up and their product; the mask of padded rows has a number for
    each pair of tokens. In 16 bits norms keep a float32 copy as well."""
    attention = facts.heads * facts.head_dim
    numbers = 4 * facts.hidden_size + 4 * attention + 4 * facts.intermediate_size + longest
    copies = 12 * facts.hidden_size if width == 2 else 0
    return numbers * width + copies


def _logit_bytes(facts: ModelFacts, params: TrainingParams, tokens: int, share: float) -> int:
    """The gradient of the logits, twice while it is sliced, and float32 targets with their softmax."""
    return int(tokens * facts.vocab_size * (2 * width_of(params) + 8 * share))


def _evaluation_bytes(facts: ModelFacts, params: TrainingParams, longest: int, share: float) -> int:
    """Without a backward pass one layer lives at a time. The loss needs all logits of the rows at
    once; answers keep keys and values of the prompt and of what is said, and latency is measured
    on one row with the logits of its prompt (labs/common: evaluation, generation, latency)."""
    width, rows = width_of(params), params.evaluated_at_once
    layer = rows * longest * (4 * facts.hidden_size + 3 * facts.intermediate_size) * width
    logits = rows * longest * facts.vocab_size * (width + 8 * share)
    # Neither prompt nor answer is longer than a row may be.
    cached = 2 * longest + SPARE_TOKENS + params.cached_before
    said = rows * cached * _cache_numbers(facts) * width
    return int(layer + max(logits, said + longest * facts.vocab_size * width))


def _cache_numbers(facts: ModelFacts) -> int:
    """Keys and values of one token, in all layers."""
    return 2 * facts.layers * facts.kv_heads * facts.head_dim
