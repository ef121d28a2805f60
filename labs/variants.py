"""Ready changes of a training's parameters: what to try next, by name. Imports no torch."""

from collections.abc import Iterator

from labs.common.params import TrainingParams
from labs.contract import N_, Json, Params

Variant = tuple[str, str, Json]
SHORTEST = 16
LENGTH_STEP = 8
CLIPPED = 1.0
RATE_DIVISORS = (3, 10)
# A run that was stopped at its time limit is planned to end well before it.
TIME_SHARE = 0.9


def trains(params: Params) -> bool:
    """Whether a lab with these parameters has a training that can go on from a checkpoint."""
    return isinstance(params, TrainingParams)


def memory_changes(params: Params, longest: int | None = None) -> Iterator[Variant]:
    """Changes that save memory, smallest loss first. `longest` is the dataset's longest row."""
    if not isinstance(params, TrainingParams):
        return
    halved: Json = {}
    if params.batch_size > 1:
        halved = {
            "batch_size": params.batch_size // 2,
            "gradient_accumulation": params.gradient_accumulation * 2,
        }
        yield "half_batch", N_("Half the batch, twice the accumulation: the same updates"), halved
    if not params.gradient_checkpointing:
        told = N_("Gradient checkpointing: a third more time")
        yield "checkpointing", told, {"gradient_checkpointing": True}
    length = min(params.max_length, longest or params.max_length)
    if length >= SHORTEST:
        told = N_("Half the length: long prompts lose their beginning")
        yield "half_length", told, {"max_length": max(LENGTH_STEP, length // 2)}
    if params.precision == "fp32":
        yield "bf16", N_("bf16 weights and activations"), {"precision": "bf16"}
    if getattr(params, "base_quantization", "") == "none":
        small = {"base_quantization": "nf4", "double_quantization": True}
        yield "nf4", N_("A base in 4-bit NF4 (QLoRA)"), small
        together = {**halved, "gradient_checkpointing": True, **small}
        yield "all_together", N_("All of it together"), together


def calmer_changes(params: Params) -> Iterator[Variant]:
    """Changes for a training whose loss became not-a-number."""
    if not isinstance(params, TrainingParams):
        return
    titles = (N_("Learning rate ÷ 3"), N_("Learning rate ÷ 10"))
    for divisor, title in zip(RATE_DIVISORS, titles, strict=True):
        rate = float(f"{params.learning_rate / divisor:.2g}")
        yield f"rate_{divisor}", title, {"learning_rate": rate}
    if params.gradient_clipping > CLIPPED:
        told = N_("Clip gradients at length 1")
        yield "clip", told, {"gradient_clipping": CLIPPED}
    if params.precision == "fp16":
        yield "bf16", N_("bf16 instead of fp16: no overflow"), {"precision": "bf16"}


def shorter_changes(params: Params, reached: int) -> Iterator[Variant]:
    """A training that ends by itself where this one was stopped."""
    if not isinstance(params, TrainingParams) or reached < 1:
        return
    steps = max(1, int(reached * TIME_SHARE))
    if steps < params.steps:
        yield "fewer_steps", N_("Fewer steps: {steps}"), {"steps": steps, "epochs": None}
