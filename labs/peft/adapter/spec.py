"""The adapter lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from labs.common.metrics import INFERENCE_METRICS, SWITCH_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts

Activation = Literal["relu", "gelu", "silu"]
Placement = Literal["both", "feed_forward"]
# How decoders call the two parts of a layer; each must be a module of its own to be hooked.
ATTENTION = ("self_attn", "attn", "attention", "self_attention")
FEED_FORWARD = ("mlp", "feed_forward", "ffn", "fc2")
# Families whose parts add the residual themselves: nothing stands between the two.
RESIDUAL_INSIDE = ("bloom", "mpt")
PARTS: dict[Placement, tuple[tuple[str, ...], ...]] = {
    "both": (ATTENTION, FEED_FORWARD),
    "feed_forward": (FEED_FORWARD,),
}


class AdapterParams(TrainingParams):
    """Small bottlenecks behind frozen parts of each layer."""

    steps: Annotated[int, TrainingParams.own("steps")] = 80
    reduction_factor: Annotated[
        int,
        Field(
            title="Reduction factor",
            ge=2,
            le=64,
            description="The bottleneck is the model's width divided by this. Less reduction can express more.",
            json_schema_extra=shown(basic=True),
        ),
    ] = 16
    activation: Annotated[
        Activation,
        Field(
            title="Activation",
            description="The non-linear function inside the bottleneck.",
            json_schema_extra=shown(),
        ),
    ] = "gelu"
    placement: Annotated[
        Placement,
        Field(
            title="Placement",
            description="After attention and feed-forward (both), or after the feed-forward only.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "both"

    def width(self, facts: ModelFacts) -> int:
        """Of the bottleneck."""
        return max(1, facts.hidden_size // self.reduction_factor)

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """Two maps and their biases for each adapter, one or two adapters in each layer."""
        width, hidden = self.width(facts), facts.hidden_size
        return facts.layers * len(PARTS[self.placement]) * (2 * width * hidden + width + hidden)

    def kept_beside(self, facts: ModelFacts) -> tuple[float, float]:
        """What enters each adapter, and the inside of its bottleneck twice."""
        each = facts.hidden_size + 2 * self.width(facts)
        return float(facts.layers * len(PARTS[self.placement]) * each), 0.0


def refuse(facts: ModelFacts, params: AdapterParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    refused = refuse_base(facts, params, "Adapters")
    if refused:
        return refused
    if facts.model_type in RESIDUAL_INSIDE:
        return LabError(
            "“{model}” ({family}) adds its residual inside attention and feed-forward, so no adapter can stand before it. Choose LoRA for this model.",
            model=facts.name,
            family=facts.model_type,
        )
    if all(facts.sublayers & set(names) for names in PARTS[params.placement]):
        return None
    return LabError(
        "The layers of “{model}” have no part that adapters can stand behind. They have: {known}. Choose LoRA for this model.",
        model=facts.name,
        known=", ".join(sorted(facts.sublayers)),
    )


LAB = Lab(
    slug="adapter",
    chapter="training",
    title="Adapters: bottlenecks in every layer",
    summary="Freeze the model and train small bottlenecks behind attention and feed-forward of each layer.",
    params=AdapterParams,
    stages=tuning_stages(
        "labs.peft.adapter",
        "Read the data, put the bottlenecks in and count them.",
        "Measure the untouched model, then train the bottlenecks and keep their best state.",
        "It cannot be merged: measure what the bottlenecks cost and how fast one base switches between them.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS, SWITCH_METRIC),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("bottlenecks", "guide"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Houlsby et al.", "Parameter-Efficient Transfer Learning for NLP", 2019, "1902.00751"
        ),
        Source(
            "Pfeiffer et al.",
            "AdapterFusion: Non-Destructive Task Composition for Transfer Learning",
            2020,
            "2005.00247",
        ),
    ),
    presets={"balanced": {}, "after the feed-forward only": {"placement": "feed_forward"}},
)
