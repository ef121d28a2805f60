"""The P-tuning v2 lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from labs.common.metrics import INFERENCE_METRICS, SWITCH_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.common.refusals import refuse_base, refuse_unlabelled
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.common.virtual_tokens import DeepPromptParams
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts

Head = Literal["language_model", "classification"]


class PTuningV2Params(DeepPromptParams):
    """Trained keys and values in every layer, and a head for the task."""

    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 1e-1
    head: Annotated[
        Head,
        Field(
            title="Head",
            description="Answer in words with the language model's own head, or train a new one that scores the labels of the dataset.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "language_model"

    def trainable_parameters(self, facts: ModelFacts, labels: int = 0) -> int:
        """The prompts of all layers, and a row of the head for each label."""
        return self.prompt_numbers(facts) + labels * facts.hidden_size


def refuse(facts: ModelFacts, params: PTuningV2Params) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    return refuse_base(facts, params, "P-tuning v2")


def refuse_format(form: str, params: PTuningV2Params) -> LabError | None:
    """A classification head has nothing to score where rows carry no label."""
    return refuse_unlabelled(form) if params.head == "classification" else None


LAB = Lab(
    slug="p_tuning_v2",
    chapter="training",
    title="P-tuning v2: prompts in every layer",
    summary="Freeze the model and learn keys and values for every layer, with the language model's head or a new one for labels.",
    params=PTuningV2Params,
    stages=tuning_stages(
        "labs.peft.p_tuning_v2",
        "Read the data, place the prompts and the head, and count them.",
        "Measure the untouched model, then train prompts and head and keep their best state.",
        "It cannot be merged: measure what one more task costs in size, loading, switching and latency.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS, SWITCH_METRIC),
    accepts=Accepts(
        formats=TUNING_FORMATS,
        parents=WHOLE_MODELS,
        refuse=refuse,
        refuse_format=refuse_format,
    ),
    produces=("adapter", "guide"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Liu et al.",
            "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across Scales and Tasks",
            2021,
            "2110.07602",
        ),
        Source(
            "Li and Liang",
            "Prefix-Tuning: Optimizing Continuous Prompts for Generation",
            2021,
            "2101.00190",
        ),
    ),
    presets={"balanced": {}, "classification": {"head": "classification"}},
)
