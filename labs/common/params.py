"""Parameters that all training labs share. Imports no torch."""

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from labs.contract import Params
from labs.models import ModelFacts

Precision = Literal["fp32", "bf16", "fp16"]
Schedule = Literal["constant", "linear", "cosine"]
# Evaluation is not faster with more rows at once (measured on two cores), and takes more memory.
MOST_EVALUATED = 32
# Room for a model that answers at more length than was expected.
SPARE_TOKENS = 4


def shown(unit: str = "", basic: bool = False) -> dict[str, Any]:
    """What a form needs beside title and range: the unit, and whether it stands up front."""
    return {"unit": unit, "basic": basic}


def split_names(value: object) -> object:
    """Names in one text, as forms and command lines give them: `q_proj, v_proj`."""
    if isinstance(value, str):
        return tuple(name for name in value.replace(",", " ").split() if name)
    return value


class Reading(Protocol):
    """What evaluation and generation need to know of a lab's parameters."""

    @property
    def max_length(self) -> int:
        """Tokens of the longest row."""

    @property
    def precision(self) -> Precision:
        """Number format of the forward pass."""

    @property
    def evaluated_at_once(self) -> int:
        """Rows at a time."""

    @property
    def tokens_before(self) -> int:
        """Virtual tokens that go through the model before each row."""

    @property
    def cached_before(self) -> int:
        """Virtual keys and values before each row."""


class TrainingParams(Params):
    """How a model is trained; each lab adds what is its own."""

    steps: Annotated[
        int,
        Field(
            title="Steps",
            ge=1,
            le=100_000,
            description="Optimizer updates. One step sees batch size × gradient accumulation rows.",
            json_schema_extra=shown("optimizer steps", basic=True),
        ),
    ] = 60
    epochs: Annotated[
        float | None,
        Field(
            title="Epochs",
            gt=0,
            le=100,
            description="Passes over the training rows. When set, it decides the number of steps.",
            json_schema_extra=shown("passes"),
        ),
    ] = None
    batch_size: Annotated[
        int,
        Field(
            title="Batch size",
            ge=1,
            le=512,
            description="Rows that go through the model at once. More need more memory.",
            json_schema_extra=shown("rows", basic=True),
        ),
    ] = 16
    gradient_accumulation: Annotated[
        int,
        Field(
            title="Gradient accumulation",
            ge=1,
            le=256,
            description="Batches whose gradients are added up before one update.",
            json_schema_extra=shown("batches"),
        ),
    ] = 1
    learning_rate: Annotated[
        float,
        Field(
            title="Learning rate",
            gt=0,
            le=1,
            description="Size of an update. Too high and the loss jumps; too low and nothing is learned.",
            json_schema_extra=shown(basic=True),
        ),
    ] = 5e-3
    schedule: Annotated[
        Schedule,
        Field(
            title="Schedule",
            description="How the learning rate falls after the warm-up.",
            json_schema_extra=shown(),
        ),
    ] = "cosine"
    warmup_fraction: Annotated[
        float,
        Field(
            title="Warm-up",
            ge=0,
            le=0.5,
            description="Share of the steps in which the learning rate rises from zero.",
            json_schema_extra=shown("of the steps"),
        ),
    ] = 0.05
    weight_decay: Annotated[
        float,
        Field(
            title="Weight decay",
            ge=0,
            le=1,
            description="How strongly trained matrices are pulled towards zero at each update (AdamW). Factors, biases and prompts are left alone.",
            json_schema_extra=shown(),
        ),
    ] = 0.0
    gradient_clipping: Annotated[
        float,
        Field(
            title="Gradient clipping",
            gt=0,
            le=1000,
            description="The gradient is scaled down to this length when it is longer.",
            json_schema_extra=shown(),
        ),
    ] = 1.0
    max_length: Annotated[
        int,
        Field(
            title="Maximum length",
            ge=8,
            le=32_768,
            description="Longer rows lose the beginning of their prompt; the answer stays whole.",
            json_schema_extra=shown("tokens"),
        ),
    ] = 256
    gradient_checkpointing: Annotated[
        bool,
        Field(
            title="Gradient checkpointing",
            description="Compute activations twice and keep few of them: less memory, about a third more time.",
            json_schema_extra=shown(),
        ),
    ] = False
    evaluation_interval: Annotated[
        int,
        Field(
            title="Evaluation interval",
            ge=1,
            le=10_000,
            description="Steps between two evaluations; each also saves a checkpoint.",
            json_schema_extra=shown("optimizer steps"),
        ),
    ] = 10
    early_stopping_patience: Annotated[
        int,
        Field(
            title="Early-stopping patience",
            ge=0,
            le=1000,
            description="Stop after this many evaluations without a better validation loss; 0 never stops early.",
            json_schema_extra=shown("evaluations"),
        ),
    ] = 0
    precision: Annotated[
        Precision,
        Field(
            title="Precision",
            description="Number format of the forward and backward pass. bf16 needs a recent GPU; on a CPU fp32 is safest.",
            json_schema_extra=shown(),
        ),
    ] = "fp32"

    @classmethod
    def own(cls, name: str) -> Any:
        """The rules and words of a field, for a lab that has a default of its own for it."""
        return cls.model_fields[name]

    @property
    def evaluated_at_once(self) -> int:
        """Rows that an evaluation takes at once: a batch size chosen for memory holds there too."""
        return min(MOST_EVALUATED, self.batch_size)

    @property
    def tokens_before(self) -> int:
        """Virtual tokens that go through the model before each row."""
        return 0

    @property
    def cached_before(self) -> int:
        """Virtual tokens that every layer attends to before each row, without computing them."""
        return 0

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """How many numbers the optimizer changes; all of them unless a lab says otherwise."""
        return facts.parameters

    def bits_per_weight(self, facts: ModelFacts) -> float:
        """How the frozen or trained base weights lie in memory."""
        return 32.0 if self.precision == "fp32" else 16.0

    def kept_beside(self, facts: ModelFacts) -> tuple[float, float]:
        """Numbers that a lab's own parts keep for the backward pass, beside the model's.

        Returns:
            How many for each token of a batch, in all layers together, and how many whatever
            the batch.
        """
        return 0.0, 0.0
