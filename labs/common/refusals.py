"""Why a base model cannot serve a tuning lab, in sentences that several labs use. Imports no torch."""

from labs.common.params import Reading, TrainingParams
from labs.contract import LabError
from labs.formats import LABELLED
from labs.models import ModelFacts


def refuse_base(facts: ModelFacts, params: TrainingParams, lab: str) -> LabError | None:
    """Quantized weights, or rows (with a lab's virtual tokens before them) beyond the context."""
    return refuse_quantized(facts, lab) or refuse_length(facts, params)


def refuse_quantized(facts: ModelFacts, lab: str) -> LabError | None:
    """A model whose weights are stored in few bits."""
    if not facts.quantization:
        return None
    return LabError(
        "“{model}” is stored quantized ({method}). {lab} starts from full weights; choose the model it was made from.",
        model=facts.name,
        method=facts.quantization,
        lab=lab,
    )


def refuse_unlabelled(form: str) -> LabError | None:
    """Rows of a format that carries no label."""
    if form in LABELLED:
        return None
    return LabError(
        "A classification head needs a dataset with labels: a text or two sentences, and a column “label”. Choose such a dataset, for example “topics”, or the head of the language model.",
        parameter="head",
    )


def refuse_length(facts: ModelFacts, params: Reading) -> LabError | None:
    """Rows longer than the model reads; what stands before them counts too."""
    extra_tokens = params.tokens_before + params.cached_before
    if params.max_length + extra_tokens <= facts.max_positions:
        return None
    if not extra_tokens:
        return LabError(
            "A maximum length of {length} does not fit “{model}”, which reads at most {limit} tokens.",
            parameter="max_length",
            length=params.max_length,
            model=facts.name,
            limit=facts.max_positions,
        )
    return LabError(
        "A maximum length of {length} with {virtual} virtual tokens before it does not fit “{model}”, which reads at most {limit} tokens.",
        parameter="max_length",
        length=params.max_length,
        virtual=extra_tokens,
        model=facts.name,
        limit=facts.max_positions,
    )
