"""The prompt tuning lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from labs.common.metrics import INFERENCE_METRICS, SWITCH_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.common.virtual_tokens import SoftPromptParams
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts

Initialization = Literal["random", "text"]


class PromptTuningParams(SoftPromptParams):
    """Trained vectors before the embeddings of every prompt."""

    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 0.1
    initialization: Annotated[
        Initialization,
        Field(
            title="Initialization",
            description="Start from the embeddings of a text, or from random vectors of their size.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "text"
    initial_text: Annotated[
        str,
        Field(
            title="Initial text",
            min_length=1,
            max_length=2000,
            description="Repeated or cut to the number of virtual tokens. What the task is, in words.",
            json_schema_extra=shown(),
        ),
    ] = "Read the message and answer in the form that is asked for."

    @field_validator("initial_text", mode="before")
    @classmethod
    def _trimmed(cls, value: object) -> object:
        """White space alone may be no token at all."""
        return value.strip() if isinstance(value, str) else value

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """One embedding for each virtual token."""
        return self.virtual_tokens * facts.hidden_size


def refuse(facts: ModelFacts, params: PromptTuningParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    return refuse_base(facts, params, "Prompt tuning")


LAB = Lab(
    slug="prompt_tuning",
    chapter="training",
    title="Prompt tuning: a learned soft prompt",
    summary="Freeze the model and learn a few embeddings that stand before every prompt: one base, many tasks, a few kilobytes each.",
    params=PromptTuningParams,
    stages=tuning_stages(
        "labs.peft.prompt_tuning",
        "Read the data, place the soft prompt and count it.",
        "Measure the untouched model, then train the soft prompt and keep its best state.",
        "It cannot be merged: measure how fast one base switches between soft prompts, and write the guide.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS, SWITCH_METRIC),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("adapter", "guide"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Lester et al.",
            "The Power of Scale for Parameter-Efficient Prompt Tuning",
            2021,
            "2104.08691",
        ),
    ),
    presets={
        "balanced": {},
        "random start": {"initialization": "random"},
        "one vector": {"virtual_tokens": 1},
    },
)
