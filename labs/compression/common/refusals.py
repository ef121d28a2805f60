"""Why a base model cannot serve a lab on compression, in sentences that all share. Imports no torch."""

from labs.common.refusals import refuse_length, refuse_quantized
from labs.compression.common.params import CompressionParams
from labs.contract import LabError
from labs.models import ModelFacts


def refuse_base(facts: ModelFacts, params: CompressionParams, lab: str) -> LabError | None:
    """Quantized weights, or rows, calibration blocks or windows beyond the context."""
    return (
        refuse_quantized(facts, lab)
        or refuse_length(facts, params)
        or _refuse_beyond(facts, params, "calibration_length")
        or _refuse_beyond(facts, params, "evaluation_window")
    )


def _refuse_beyond(facts: ModelFacts, params: CompressionParams, name: str) -> LabError | None:
    tokens = getattr(params, name)
    if tokens <= facts.max_positions:
        return None
    return LabError(
        "Blocks of {tokens} tokens do not fit “{model}”, which reads at most {limit}. Choose at most that many.",
        parameter=name,
        tokens=tokens,
        model=facts.name,
        limit=facts.max_positions,
    )
