"""The full fine-tuning lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated

from labs.common.metrics import INFERENCE_METRICS, TRAINING_METRICS
from labs.common.params import TrainingParams
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts


class FullParams(TrainingParams):
    """Every weight of the model."""

    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 3e-4

    def bits_per_weight(self, facts: ModelFacts) -> float:
        """Weights that are trained are kept in float32: small updates would round away in 16 bits."""
        return 32.0


def refuse(facts: ModelFacts, params: FullParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    return refuse_base(facts, params, "Full fine-tuning")


LAB = Lab(
    slug="full",
    chapter="training",
    title="Full fine-tuning: the yardstick",
    summary="Train every weight of the model: the most memory, the most freedom, and what the other methods are compared with.",
    params=FullParams,
    stages=tuning_stages(
        "labs.peft.full",
        "Read the data and count the weights.",
        "Measure the untouched model, then train all of it and keep the best state.",
        "Load the saved model as anybody would, and prove that it says the same.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("model",),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Loshchilov and Hutter", "Decoupled Weight Decay Regularization", 2019, "1711.05101"
        ),
    ),
    presets={"balanced": {}},
)
