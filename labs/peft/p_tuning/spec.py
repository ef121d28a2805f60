"""The P-tuning lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated

from pydantic import Field

from labs.common.metrics import INFERENCE_METRICS, MERGE_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.common.virtual_tokens import SoftPromptParams
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts
from labs.peft.p_tuning.counting import GATES, Encoder, count_parameters


class PTuningParams(SoftPromptParams):
    """A soft prompt that a small network writes."""

    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 1e-2
    encoder: Annotated[
        Encoder,
        Field(
            title="Prompt encoder",
            description="MLP: each vector by itself. LSTM: neighbours shape each other, then an MLP.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "mlp"
    encoder_width: Annotated[
        int,
        Field(
            title="Encoder width",
            ge=1,
            le=8192,
            description="Hidden width of the encoder; of each direction of the LSTM, which at 256 trains more numbers than the bundled base has.",
            json_schema_extra=shown(),
        ),
    ] = 256
    encoder_layers: Annotated[
        int,
        Field(
            title="Encoder layers",
            ge=1,
            le=8,
            description="Layers of the LSTM. The MLP always has three maps.",
            json_schema_extra=shown(),
        ),
    ] = 2

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """The vectors that are encoded, and the encoder."""
        width, layers = self.encoder_width, self.encoder_layers
        return count_parameters(self.virtual_tokens, facts.hidden_size, width, self.encoder, layers)

    def kept_beside(self, facts: ModelFacts) -> tuple[float, float]:
        """What the encoder keeps for its backward pass, once for all rows."""
        each = 3 * self.encoder_width
        if self.encoder == "lstm":
            each = self.encoder_layers * 2 * (GATES + 2) * self.encoder_width + 3 * each
        return 0.0, float(self.virtual_tokens * each)


def refuse(facts: ModelFacts, params: PTuningParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    return refuse_base(facts, params, "P-tuning")


LAB = Lab(
    slug="p_tuning",
    chapter="training",
    title="P-tuning: an encoded soft prompt",
    summary="Freeze the model and train a small network that writes a soft prompt; keep only what it wrote.",
    params=PTuningParams,
    stages=tuning_stages(
        "labs.peft.p_tuning",
        "Read the data, place the prompt encoder and count it.",
        "Measure the untouched model, then train the encoder and keep its best state.",
        "Fold the encoder into plain embeddings and prove that nothing changed.",
    ),
    metrics=(*TRAINING_METRICS, *INFERENCE_METRICS, MERGE_METRIC),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("prompt_encoder", "adapter"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(Source("Liu et al.", "GPT Understands, Too", 2021, "2103.10385"),),
    presets={"balanced": {}, "LSTM": {"encoder": "lstm", "encoder_width": 64, "encoder_layers": 1}},
)
