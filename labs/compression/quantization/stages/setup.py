"""Setup: read the text, count what will be quantized and what the file will take."""

from typing import Any

from labs.common.loading import load_tokenizer
from labs.compression.common.showing import show_text
from labs.compression.common.texts import calibration, evaluation_stream
from labs.compression.quantization.sizes import bits_per_weight, expected_bytes, matrix_bytes
from labs.compression.quantization.spec import LAB, QuantizationParams
from labs.contract import N_, Column, Json, LabContext
from labs.models import ModelFacts, read_facts


def setup(params: QuantizationParams, run: LabContext) -> Json:
    """Check model, parameters and text against each other, and show what will be quantized.

    Reads the base model's headers and the running text. Leaves tables of both.

    Raises:
        LabError: If the model cannot be quantized like that, or the text is shorter than a block.
    """
    facts = read_facts(run.base_model)
    refused = LAB.accepts.refuse(facts, params)
    if refused is not None:
        raise refused
    run.progress(1, 3, "reading the running text")
    tokenizer = load_tokenizer(run.base_model)
    blocks = calibration(run, params, tokenizer)
    stream = evaluation_stream(run, params, tokenizer)
    show_text(run, params, tokenizer, blocks, stream)
    run.progress(2, 3, "counting weights")
    width = params.stored_bytes(facts)
    show_matrices(run, params, facts, width)
    expected = expected_bytes(facts, params.scheme, width)
    bits = bits_per_weight(facts, params.scheme, width)
    run.log(0, {"quantize/bits_per_weight": bits})
    run.progress(3, 3, "ready")
    return {
        "bits_per_weight": bits,
        "expected_bytes": expected,
        "base_bytes": facts.bytes,
        "calibration_tokens": blocks.numel(),
        "evaluation_tokens": len(stream),
    }


def show_matrices(
    run: LabContext, params: QuantizationParams, facts: ModelFacts, width: int
) -> None:
    """Each kind of matrix with what it takes before and after, and what stays whole."""
    columns = [
        Column("matrix", "Matrix"),
        Column("count", "How many"),
        Column("shape", "Outputs × inputs"),
        Column("groups", "Scales per row"),
        Column("weights", "Weights"),
        Column("before", "Before", "bytes"),
        Column("after", "After", "bytes"),
    ]
    stored = facts.bytes / facts.parameters
    rows: list[list[Any]] = []
    inside = 0
    for name, matrix in facts.matrices.items():
        weights = matrix.count * matrix.outputs * matrix.inputs
        inside += weights
        size = params.scheme.group_size or matrix.inputs
        after = matrix.count * matrix_bytes(matrix, params.scheme, width)
        shape = f"{matrix.outputs} × {matrix.inputs}"
        rows.append(
            [
                name,
                matrix.count,
                shape,
                matrix.inputs // size,
                weights,
                int(weights * stored),
                after,
            ]
        )
    rest = facts.parameters - inside
    whole = N_("Embeddings, norms and biases: left as they are")
    rows.append([whole, None, None, None, rest, int(rest * stored), rest * width])
    run.table("matrices", "What becomes small, and what does not", columns, rows)
