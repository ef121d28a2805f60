"""How many bytes a quantized checkpoint has, by a formula. Imports no torch."""

from labs.compression.quantization.scheme import Scheme
from labs.models import Matrix, ModelFacts

WORD = 32
# compressed-tensors keeps a matrix's shape beside its packed words: two 64-bit numbers.
SHAPE_BYTES = 16
# bitsandbytes: values that share a scale, and scales that share a scale.
NF4_BLOCK, NF4_NESTED_BLOCK = 64, 256


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
    return -(-size // 2) + _nf4_scales(blocks, scheme.double_quantization)


def _nf4_scales(blocks: int, double: bool) -> int:
    return blocks if double else 4 * blocks


def _words(numbers: int, bits: int) -> int:
    return -(-numbers * bits // WORD)
