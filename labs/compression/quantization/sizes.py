"""How many bytes a quantized checkpoint has, by a formula. Imports no torch."""

import json

from labs.compression.quantization.scheme import Scheme
from labs.contract import Json
from labs.models import Matrix, ModelFacts

WORD = 32
# compressed-tensors keeps a matrix's shape beside its packed words: two 64-bit numbers.
SHAPE_BYTES = 16
# bitsandbytes: values that share a scale, and scales that share a scale.
NF4_BLOCK, NF4_NESTED_BLOCK = 64, 256
# Its tables of levels, float32: 16 of NF4, 256 of nested scales.
NF4_LEVELS, NESTED_LEVELS = 4 * 16, 4 * 256
TYPICAL_OFFSET = 0.12345678901234567


def expected_bytes(facts: ModelFacts, scheme: Scheme, dtype_bytes: int) -> int:
    """Bytes of all tensors in the weight file, without its header.

    Matrices inside the layers are stored as the scheme says; embeddings, the output head, norms and
    biases stay whole numbers of `dtype_bytes`.

    Args:
        facts: Of the model before it is quantized.
        scheme: How it is.
        dtype_bytes: Of a number that is not quantized, and of a scale: 4 for float32, 2 for bfloat16.
    """
    inside = sum(m.count * m.outputs * m.inputs for m in facts.matrices.values())
    stored = sum(m.count * matrix_bytes(m, scheme, dtype_bytes) for m in facts.matrices.values())
    return (facts.parameters - inside) * dtype_bytes + stored


def bits_per_weight(facts: ModelFacts, scheme: Scheme, dtype_bytes: int) -> float:
    """Stored bits for each weight inside the layers, with its share of scales and zero points."""
    inside = sum(m.count * m.outputs * m.inputs for m in facts.matrices.values())
    stored = sum(m.count * matrix_bytes(m, scheme, dtype_bytes) for m in facts.matrices.values())
    return 8 * stored / inside


def matrix_bytes(matrix: Matrix, scheme: Scheme, dtype_bytes: int) -> int:
    """Bytes of one quantized matrix and of what belongs to it."""
    return {
        "pack-quantized": _packed,
        "int-quantized": _whole_bytes,
        "bitsandbytes": _bitsandbytes,
    }[scheme.stored](matrix, scheme, dtype_bytes)


def _packed(matrix: Matrix, scheme: Scheme, dtype_bytes: int) -> int:
    """Rows of 32-bit words without gaps between the integers; zero points packed down the rows."""
    groups = matrix.inputs // (scheme.group_size or matrix.inputs)
    words = matrix.outputs * _words(matrix.inputs, scheme.bits)
    zeros = 0 if scheme.symmetric else groups * _words(matrix.outputs, scheme.bits)
    return 4 * (words + zeros) + matrix.outputs * groups * dtype_bytes + SHAPE_BYTES


def _whole_bytes(matrix: Matrix, scheme: Scheme, dtype_bytes: int) -> int:
    """One byte a weight, one scale a row."""
    return matrix.outputs * matrix.inputs + matrix.outputs * dtype_bytes


def _bitsandbytes(matrix: Matrix, scheme: Scheme, dtype_bytes: int) -> int:
    size = matrix.outputs * matrix.inputs
    if scheme.method == "int8":
        # A float32 scale a row, and one byte that names the format.
        return size + 4 * matrix.outputs + 1
    blocks = -(-size // NF4_BLOCK)
    scales = _nested_scales(blocks) if scheme.double_quantization else 4 * blocks
    return -(-size // 2) + scales + NF4_LEVELS + len(_state(matrix, scheme, dtype_bytes))


def _nested_scales(blocks: int) -> int:
    """A byte a scale; float32 scales of these scales, and the 256 levels they are rounded to."""
    return blocks + 4 * -(-blocks // NF4_NESTED_BLOCK) + NESTED_LEVELS


def _state(matrix: Matrix, scheme: Scheme, dtype_bytes: int) -> str:
    """What bitsandbytes notes of a matrix, as JSON in the weight file.

    The offset of nested scales is written in as many digits as it needs: up to two bytes off.
    """
    dtype = {4: "float32", 2: "bfloat16"}[dtype_bytes]
    state: Json = {"quant_type": "nf4", "blocksize": NF4_BLOCK, "dtype": dtype}
    state["shape"] = [matrix.outputs, matrix.inputs]
    if scheme.double_quantization:
        state |= {"nested_blocksize": NF4_NESTED_BLOCK, "nested_dtype": "float32"}
        state["nested_offset"] = TYPICAL_OFFSET
    return json.dumps(state)


def _words(numbers: int, bits: int) -> int:
    return -(-numbers * bits // WORD)
