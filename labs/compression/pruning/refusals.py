"""Why a base model cannot be pruned as asked, with what would work. Imports no torch."""

from typing import TYPE_CHECKING

from labs.compression.common.refusals import refuse_base
from labs.contract import LabError
from labs.models import ModelFacts

if TYPE_CHECKING:
    from labs.compression.pruning.spec import PruningParams


def refuse(facts: ModelFacts, params: "PruningParams") -> LabError | None:
    """Quantized weights, text longer than the context, groups that do not fit into the rows."""
    return refuse_base(facts, params, "Pruning") or _refuse_pattern(facts, params)


def _refuse_pattern(facts: ModelFacts, params: "PruningParams") -> LabError | None:
    if not params.group:
        return None
    for name, matrix in facts.matrices.items():
        if matrix.inputs % params.group:
            return LabError(
                "{pattern} needs rows of a multiple of {group} weights, but those of {module} have {inputs}. Choose the pattern “unstructured”.",
                parameter="pattern",
                pattern=params.pattern,
                group=params.group,
                module=name,
                inputs=matrix.inputs,
            )
    return None
