"""The BitFit lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated

from pydantic import Field

from labs.common.metrics import INFERENCE_METRICS, MERGE_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts
from labs.peft.bitfit.parts import Biases, chosen_sizes


class BitFitParams(TrainingParams):
    """The bias vectors of the model itself, and nothing else."""

    steps: Annotated[int, TrainingParams.own("steps")] = 200
    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 5e-2
    biases: Annotated[
        Biases,
        Field(
            title="Biases",
            description="Which bias vectors are trained: all, those of attention, or of the feed-forward.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "all"

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """The lengths of all chosen bias vectors."""
        return sum(chosen_sizes(facts.biases, self.biases).values())


def refuse(facts: ModelFacts, params: BitFitParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    refused = refuse_base(facts, params, "BitFit")
    if refused or chosen_sizes(facts.biases, params.biases):
        return refused
    if not facts.biases:
        return LabError(
            "“{model}” has no bias vectors, so BitFit has nothing to train. Choose a model that has some (GPT-2, OPT, Qwen2), or LoRA.",
            model=facts.name,
        )
    return LabError(
        "“{model}” has no bias vectors in {part}. It has some in: {known}. Choose all biases.",
        parameter="biases",
        model=facts.name,
        part=params.biases,
        known=", ".join(sorted(facts.biases)),
    )


LAB = Lab(
    slug="bitfit",
    chapter="training",
    title="BitFit: bias terms only",
    summary="Freeze every matrix and train the bias vectors that the model already has.",
    params=BitFitParams,
    stages=tuning_stages(
        "labs.peft.bitfit",
        "Read the data, free the bias vectors and count them.",
        "Measure the untouched model, then train the biases and keep their best state.",
        "Add the changes to the biases of a fresh base, prove that nothing changed, save both forms.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS, MERGE_METRIC),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("bias_delta", "merged"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Ben Zaken et al.",
            "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models",
            2021,
            "2106.10199",
        ),
    ),
    presets={"balanced": {}, "attention only": {"biases": "attention"}},
)
