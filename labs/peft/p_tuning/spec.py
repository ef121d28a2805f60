"""The P-tuning lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from labs.common.metrics import INFERENCE_METRICS, MERGE_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.common.refusals import refuse_base
from labs.common.tuning_lab import TUNING_FORMATS, tuning_stages
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import ModelFacts

Encoder = Literal["mlp", "lstm"]
GATES = 4  # of an LSTM: input, forget, cell, output


class PTuningParams(TrainingParams):
    """A soft prompt that a small network writes."""

    steps: Annotated[int, TrainingParams.own("steps")] = 150
    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 1e-2
    virtual_tokens: Annotated[
        int,
        Field(
            title="Virtual tokens",
            ge=1,
            le=200,
            description="How many vectors the encoder writes before each prompt. They take room in the context.",
            json_schema_extra=shown("tokens", basic=True),
        ),
    ] = 16
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
            description="Hidden width of the encoder; of each direction of the LSTM.",
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
        hidden, width = facts.hidden_size, self.encoder_width
        vectors = self.virtual_tokens * hidden
        if self.encoder == "mlp":
            return vectors + _map(hidden, width) + _map(width, width) + _map(width, hidden)
        above = (self.encoder_layers - 1) * _recurrent(2 * width, width)
        recurrent = _recurrent(hidden, width) + above
        return vectors + recurrent + _map(2 * width, 2 * width) + _map(2 * width, hidden)


def _map(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _recurrent(inputs: int, width: int) -> int:
    """One layer of a bidirectional LSTM; torch keeps two bias vectors for each gate."""
    return 2 * GATES * (inputs * width + width * width + 2 * width)


def refuse(facts: ModelFacts, params: PTuningParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    return refuse_base(facts, params, "P-tuning", params.virtual_tokens)


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
    accepts=Accepts(formats=TUNING_FORMATS, parents=frozenset({"merged"}), refuse=refuse),
    produces=("adapter",),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(Source("Liu et al.", "GPT Understands, Too", 2021, "2103.10385"),),
    presets={"balanced": {}, "LSTM": {"encoder": "lstm", "encoder_width": 64, "encoder_layers": 1}},
)
