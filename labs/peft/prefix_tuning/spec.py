"""The prefix tuning lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated

from pydantic import Field

from labs.common.metrics import INFERENCE_METRICS, MERGE_METRIC, SWITCH_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.common.virtual_tokens import DeepPromptParams
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts


class PrefixTuningParams(DeepPromptParams):
    """Trained keys and values before those of the text, in every layer."""

    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 1e-1
    reparameterize: Annotated[
        bool,
        Field(
            title="Reparameterization",
            description="Let a small network (MLP) write the prefix while training; it is dropped afterwards.",
            json_schema_extra=shown(basic=True),
        ),
    ] = False
    prefix_width: Annotated[
        int,
        Field(
            title="Width of the MLP",
            ge=1,
            le=8192,
            description="Hidden width of the network that writes the prefix, where there is one.",
            json_schema_extra=shown(),
        ),
    ] = 128

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """The prefix itself, or its embeddings and the two maps of the MLP that write it."""
        if not self.reparameterize:
            return self.prompt_numbers(facts)
        width = facts.kv_heads * facts.head_dim
        written = facts.layers * 2 * width
        first = width * self.prefix_width + self.prefix_width
        second = self.prefix_width * written + written
        return self.virtual_tokens * width + first + second

    def kept_beside(self, facts: ModelFacts) -> tuple[float, float]:
        """The MLP keeps its hidden layer and what it wrote, once for all rows."""
        each_token, fixed = super().kept_beside(facts)
        if self.reparameterize:
            fixed += self.virtual_tokens * self.prefix_width + self.prompt_numbers(facts)
        return each_token, fixed


def refuse(facts: ModelFacts, params: PrefixTuningParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    return refuse_base(facts, params, "Prefix tuning")


LAB = Lab(
    slug="prefix_tuning",
    chapter="training",
    title="Prefix tuning: learned keys and values",
    summary="Freeze the model and learn keys and values that every layer attends to before the text.",
    params=PrefixTuningParams,
    stages=tuning_stages(
        "labs.peft.prefix_tuning",
        "Read the data, place the prefix and count it, with and without the MLP.",
        "Measure the untouched model, then train the prefix and keep its best state.",
        "Drop the MLP, prove that nothing changed, measure how fast one base switches between prefixes.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS, MERGE_METRIC, SWITCH_METRIC),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("prompt_encoder", "adapter", "guide"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Li and Liang",
            "Prefix-Tuning: Optimizing Continuous Prompts for Generation",
            2021,
            "2101.00190",
        ),
    ),
    presets={"balanced": {}, "with the MLP": {"reparameterize": True, "learning_rate": 1e-2}},
)
