"""Why a model cannot be quantized in a certain way, read from its facts. Imports no torch."""

from labs.compression.quantization.families import FAMILIES
from labs.compression.quantization.scheme import Scheme
from labs.contract import LabError
from labs.models import TRANSPOSED, ModelFacts

GROUPS = (128, 64, 32)
# Outputs that bitsandbytes packs together for processors with AVX512-BF16 (0.50).
NF4_OUTPUTS = 32


def refuse_scheme(facts: ModelFacts, scheme: Scheme) -> LabError | None:
    """What stands against quantizing this model like that; `refuse_base` says what stands against it at all."""
    return (
        _refuse_shape_of_modules(facts, scheme)
        or _refuse_folds(facts, scheme)
        or _refuse_groups(facts, scheme)
        or _refuse_nf4(facts, scheme)
    )


def _refuse_shape_of_modules(facts: ModelFacts, scheme: Scheme) -> LabError | None:
    """Matrices that are no linear layers to compressed-tensors: Conv1D, and experts in one tensor."""
    if scheme.stored == "bitsandbytes":
        return None
    if facts.model_type in TRANSPOSED:
        return LabError(
            "“{model}” keeps its matrices with inputs first ({family}), which the format of the checkpoint does not know. Choose LLM.int8 or NF4.",
            parameter="method",
            model=facts.name,
            family=facts.model_type,
        )
    if "moe" in facts.model_type or facts.model_type == "mixtral":
        return LabError(
            "“{model}” is a mixture of experts ({family}), whose experts this lab does not quantize. Choose a dense model.",
            model=facts.name,
            family=facts.model_type,
        )
    return None


def _refuse_folds(facts: ModelFacts, scheme: Scheme) -> LabError | None:
    if not scheme.folds or facts.model_type in FAMILIES:
        return None
    return LabError(
        "{method} moves scales from one matrix into the one before it, and how is known of these families only: {known}. “{model}” is {family}. Choose GPTQ, or round-to-nearest.",
        parameter="method",
        method={"awq": "AWQ", "smoothquant": "SmoothQuant"}[scheme.method],
        known=", ".join(FAMILIES),
        model=facts.name,
        family=facts.model_type or "not stated",
    )


def _refuse_groups(facts: ModelFacts, scheme: Scheme) -> LabError | None:
    size = scheme.group_size
    if not size or scheme.stored != "pack-quantized":
        return None
    for name, matrix in facts.matrices.items():
        if matrix.inputs % size:
            fitting = [each for each in GROUPS if not _misfits(facts, each)]
            return LabError(
                "Groups of {size} do not divide the {inputs} inputs of {matrix} in “{model}”. What would work: {choices}.",
                parameter="group_size",
                size=size,
                inputs=matrix.inputs,
                matrix=name,
                model=facts.name,
                choices=", ".join([*map(str, fitting), "per channel"]),
            )
    return None


def _refuse_nf4(facts: ModelFacts, scheme: Scheme) -> LabError | None:
    """A checkpoint that whoever loads it plainly could not compute with on such a processor."""
    for name, matrix in facts.matrices.items() if scheme.method == "nf4" else ():
        if matrix.outputs % NF4_OUTPUTS:
            return LabError(
                "NF4 needs matrices with a multiple of {size} outputs; {matrix} in “{model}” has {outputs}. Choose LLM.int8, GPTQ or round to nearest.",
                parameter="method",
                size=NF4_OUTPUTS,
                matrix=name,
                model=facts.name,
                outputs=matrix.outputs,
            )
    return None


def _misfits(facts: ModelFacts, size: int) -> bool:
    return any(matrix.inputs % size for matrix in facts.matrices.values())
