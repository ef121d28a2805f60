"""The IA³ lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from labs.common.metrics import INFERENCE_METRICS, MERGE_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown, split_names
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import Matrix, ModelFacts

Rescaled = Literal["keys", "values", "feed_forward"]
# How decoders call the matrix behind each; for the feed-forward the one that reads its inside.
MODULES: dict[Rescaled, tuple[str, ...]] = {
    "keys": ("k_proj",),
    "values": ("v_proj",),
    "feed_forward": ("down_proj", "fc2", "dense_4h_to_h", "fc_out", "mlp.c_proj"),
}


class Ia3Params(TrainingParams):
    """One learned factor for each channel of keys, values and the inside of the feed-forward."""

    steps: Annotated[int, TrainingParams.own("steps")] = 150
    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 3e-2
    rescaled: Annotated[
        tuple[Rescaled, ...],
        Field(
            title="Rescaled",
            min_length=1,
            max_length=3,
            description="What gets a factor for each channel: keys, values, feed_forward.",
            json_schema_extra=shown(basic=True),
        ),
    ] = ("keys", "values", "feed_forward")

    @field_validator("rescaled", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_names(value)

    @field_validator("rescaled")
    @classmethod
    def _once(cls, value: tuple[Rescaled, ...]) -> tuple[Rescaled, ...]:
        return tuple(dict.fromkeys(value))

    def targets(self, facts: ModelFacts) -> dict[str, Matrix]:
        """The matrices whose outputs (keys, values) or inputs (feed-forward) are rescaled."""
        names = [name for part in self.rescaled for name in MODULES[part]]
        found = ((name, matrix_of(facts, name)) for name in names)
        return {name: matrix for name, matrix in found if matrix}

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """One for each output of the key and value matrices, and each input of the feed-forward's."""
        inner = MODULES["feed_forward"]
        return sum(
            m.count * (m.inputs if name in inner else m.outputs)
            for name, m in self.targets(facts).items()
        )

    def kept_beside(self, facts: ModelFacts) -> tuple[float, float]:
        """Each rescaled channel is kept to find the gradient of its factor."""
        return float(self.trainable_parameters(facts)), 0.0


def matrix_of(facts: ModelFacts, name: str) -> Matrix | None:
    """A matrix by its name; one with its owner before it (`mlp.c_proj`) may be stored without."""
    return facts.matrices.get(name) or facts.matrices.get(name.rpartition(".")[2])


def _has(facts: ModelFacts, part: Rescaled) -> bool:
    return any(matrix_of(facts, name) for name in MODULES[part])


def refuse(facts: ModelFacts, params: Ia3Params) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    refused = refuse_base(facts, params, "IA³")
    if refused:
        return refused
    possible = [part for part in MODULES if _has(facts, part)]
    for part in params.rescaled:
        if part not in possible:
            return LabError(
                "“{model}” keeps no matrix of its own for {part}, so IA³ cannot rescale it. It has: {known}. Choose {possible}.",
                parameter="rescaled",
                model=facts.name,
                part=part,
                known=", ".join(sorted(facts.matrices)),
                possible=", ".join(possible) or "LoRA",
            )
    return None


LAB = Lab(
    slug="ia3",
    chapter="training",
    title="IA³: learned rescaling",
    summary="Freeze the model and learn one factor for each channel of keys, values and feed-forward; multiply it into the weights when done.",
    params=Ia3Params,
    stages=tuning_stages(
        "labs.peft.ia3",
        "Read the data, place the factors at 1 and count them.",
        "Measure the untouched model, then train the factors and keep their best state.",
        "Multiply the factors into the weights, prove that nothing changed, save both forms.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS, MERGE_METRIC),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("adapter", "merged"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Liu et al.",
            "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
            2022,
            "2205.05638",
        ),
    ),
    presets={"balanced": {}, "keys and values only": {"rescaled": ("keys", "values")}},
)
