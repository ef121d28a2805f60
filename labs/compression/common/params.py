"""Parameters that the labs on compression share. Imports no torch."""

from typing import Annotated

from pydantic import Field, model_validator

from labs.common.params import MOST_EVALUATED, Precision, TrainingParams, shown
from labs.compression.common.costs import Work, calibration_work
from labs.contract import Params
from labs.models import ModelFacts


class CompressionParams(Params):
    """What a model is calibrated on, and how it is judged before and after."""

    calibration: Annotated[
        str,
        Field(
            title="Running text",
            max_length=255,
            description="A dataset whose training split calibrates and whose test split gives the perplexity. Empty takes the run's own dataset.",
            json_schema_extra={**shown(), "resource": "dataset"},
        ),
    ] = "campus"
    calibration_samples: Annotated[
        int,
        Field(
            title="Calibration samples",
            ge=1,
            le=2048,
            description="Blocks of running text that the layers are observed with.",
            json_schema_extra=shown("blocks", basic=True),
        ),
    ] = 32
    calibration_length: Annotated[
        int,
        Field(
            title="Calibration length",
            ge=8,
            le=32_768,
            description="Tokens of each block; blocks are cut from joined rows, without padding.",
            json_schema_extra=shown("tokens"),
        ),
    ] = 128
    evaluation_window: Annotated[
        int,
        Field(
            title="Evaluation window",
            ge=8,
            le=32_768,
            description="Tokens that the model sees at once when perplexity is measured.",
            json_schema_extra=shown("tokens"),
        ),
    ] = 128
    evaluation_stride: Annotated[
        int,
        Field(
            title="Evaluation stride",
            ge=1,
            le=32_768,
            description="Tokens between two windows. As long as the window: no overlap, as in the papers.",
            json_schema_extra=shown("tokens"),
        ),
    ] = 128
    evaluation_tokens: Annotated[
        int,
        Field(
            title="Evaluation text",
            ge=64,
            le=10_000_000,
            description="Perplexity is measured on at most so many tokens of the test split.",
            json_schema_extra=shown("tokens"),
        ),
    ] = 16_384
    max_length: Annotated[int, TrainingParams.own("max_length")] = 256
    precision: Annotated[Precision, TrainingParams.own("precision")] = "fp32"

    @model_validator(mode="after")
    def _stride_fits(self) -> "CompressionParams":
        if self.evaluation_stride > self.evaluation_window:
            raise ValueError(
                "the evaluation stride is longer than the window: text would be left out"
            )
        return self

    @property
    def evaluated_at_once(self) -> int:
        """Rows that answers are generated for at once."""
        return MOST_EVALUATED

    @property
    def tokens_before(self) -> int:
        """Virtual tokens before each row: none."""
        return 0

    @property
    def cached_before(self) -> int:
        """Virtual keys and values before each row: none."""
        return 0

    @property
    def models_judged(self) -> int:
        """How many models go through the whole exam: the untouched one and what became of it."""
        return 2

    def memory_beside(self, facts: ModelFacts, device: str) -> dict[str, int]:
        """Bytes by part that a lab's own method holds beside weights and calibration text."""
        return {}

    def work(self, facts: ModelFacts) -> Work:
        """What compressing takes, without any judging."""
        return calibration_work(facts, self)

    def left_bytes(self, facts: ModelFacts) -> int:
        """What all artifacts of a run take on the disk; a model as large as it was, unless a lab
        says otherwise."""
        return facts.bytes
