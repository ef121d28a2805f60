"""How far and by what rule a model counts positions, in the words of GGUF. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Any

from labs.contract import Json, LabError

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Positions:
    """`metadata` without the architecture's prefix; `factors` divide the rotary frequencies."""

    context: int
    metadata: dict[str, Value]
    factors: tuple[float, ...] = ()


def read_positions(config: Json, head_dim: int, context: int) -> Positions:
    """Rotary parameters of a config.json, in its old form and that of transformers 5.

    Args:
        config: The parsed config.json.
        head_dim: Numbers of a head, all of which are turned.
        context: The largest position the config states.

    Raises:
        LabError: For a rule that llama.cpp does not compute equally.
    """
    rope: Json = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    turned = float(rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1)
    metadata: dict[str, Value] = {"rope.freq_base": base, "rope.dimension_count": head_dim}
    context = min(context, _window(config) or context)
    if kind == "default" and turned == 1:
        return Positions(context, metadata)
    if kind == "linear" and turned == 1:
        scaling: dict[str, Value] = {"type": "linear", "factor": float(rope["factor"])}
    elif kind == "llama3" and turned == 1:
        return Positions(context, metadata, tuple(llama3_factors(rope, base, head_dim)))
    elif kind == "yarn" and turned == 1 and not rope.keys() & {"mscale", "mscale_all_dim"}:
        original = int(rope.get("original_max_position_embeddings") or context)
        scaling = {"type": "yarn", "factor": float(rope["factor"])}
        scaling["original_context_length"] = original
    else:
        raise LabError(
            "This model scales its rotary positions by “{rule}”, which is not written as GGUF here. These are: {known}.",
            rule=kind if turned == 1 else f"{kind}, {turned:g}",
            known="default, linear, llama3, yarn",
        )
    return Positions(context, metadata | {f"rope.scaling.{k}": v for k, v in scaling.items()})


def _window(config: Json) -> int:
    """Beyond a sliding window llama.cpp would see more than the model; the file ends there."""
    window: Any = config.get("sliding_window")
    return int(window) if window and config.get("use_sliding_window", True) else 0


def llama3_factors(rope: Json, base: float, head_dim: int) -> list[float]:
    """What each rotary frequency is divided by, Llama 3.1's rule.

    Wavelengths short against the original context stay, long ones are stretched by `factor`, and
    between the two limits lies a linear passage.
    """
    factor = float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    original = float(rope["original_max_position_embeddings"])
    factors = []
    for pair in range(head_dim // 2):
        wavelength = 2 * math.pi * base ** (2 * pair / head_dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors
