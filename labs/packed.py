"""What stands for which weight in a quantized checkpoint, from its headers. Imports no torch.

Integers are packed several to a number, and scales, zero points and shapes lie beside them. Facts of
a model are of its weights, so packed ones count as what they stand for, and what lies beside them
not at all. Layouts: compressed-tensors, GPTQ, AWQ and bitsandbytes, as transformers loads them.
"""

from collections.abc import Mapping
from typing import Any

from labs.contract import Json
from labs.model_files import Tensor

WORD = 32
# The last part of names of what lies beside packed weights.
BESIDE = frozenset(
    {
        *("weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"),
        *("input_scale", "output_scale", "scales", "qzeros", "g_idx"),
        *("SCB", "weight_format", "absmax", "quant_map", "nested_absmax", "nested_quant_map"),
    }
)
QUANT_STATE = "quant_state"
FLOATING = ("F64", "F32", "F16", "BF16")


def unpacked(tensors: Mapping[str, Tensor], config: Json) -> dict[str, Tensor]:
    """Tensors of a quantized checkpoint by the names and shapes that they have unpacked.

    Where a header does not tell a shape (NF4), the weight has one dimension, and its true number of
    entries.
    """
    bits = _bits(config)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        path, _, last = name.rpartition(".")
        if last in BESIDE or QUANT_STATE in name:
            continue
        if last == "weight_packed" and _is_matrix(tensor):
            outputs, words = tensor.shape
            found[f"{path}.weight"] = Tensor(tensor.dtype, (outputs, words * WORD // bits))
        elif last == "qweight" and _is_matrix(tensor):
            found[f"{path}.weight"] = Tensor(tensor.dtype, _unpacked_shape(tensor, config, bits))
        elif f"{name}.absmax" in tensors:
            found[name] = Tensor(tensor.dtype, (2 * tensor.size,))
        else:
            found[name] = tensor
    return found


def whole_dtype(tensors: Mapping[str, Tensor]) -> str:
    """The format of most of what is not quantized; F32 where there is nothing."""
    sizes = dict.fromkeys(FLOATING, 0)
    for name, tensor in tensors.items():
        if tensor.dtype in sizes and name.rpartition(".")[2] not in BESIDE:
            sizes[tensor.dtype] += tensor.size
    return max(sizes, key=sizes.__getitem__) if any(sizes.values()) else "F32"


def _unpacked_shape(tensor: Tensor, config: Json, bits: int) -> tuple[int, int]:
    """[out, in]: GPTQ packs down the inputs, AWQ along the outputs; both keep inputs first."""
    rows, columns = tensor.shape
    if _stated(config).get("quant_method") == "awq":
        return columns * WORD // bits, rows
    return columns, rows * WORD // bits


def _bits(config: Json) -> int:
    """Bits of a weight, as the config says; 4 where it says nothing sensible."""
    stated = _stated(config)
    groups = stated.get("config_groups")
    first: Any = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    said = weights.get("num_bits") if isinstance(weights, dict) else stated.get("bits")
    return said if type(said) is int and 1 <= said <= WORD else 4


def _stated(config: Json) -> Json:
    stated = config.get("quantization_config")
    return stated if isinstance(stated, dict) else {}


def _is_matrix(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2
