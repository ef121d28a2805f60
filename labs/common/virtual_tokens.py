"""Parameters and figures of methods that put trained vectors before the text. Imports no torch."""

from typing import Annotated

from pydantic import Field, field_validator

from labs.common.params import TrainingParams, shown
from labs.models import ModelFacts


class VirtualTokenParams(TrainingParams):
    """Trained vectors before every row."""

    steps: Annotated[int, TrainingParams.own("steps")] = 120
    virtual_tokens: Annotated[
        int,
        Field(
            title="Virtual tokens",
            ge=1,
            le=200,
            description="How many trained vectors stand before each prompt. They take room in the context.",
            json_schema_extra=shown("tokens", basic=True),
        ),
    ] = 16


class SoftPromptParams(VirtualTokenParams):
    """Vectors among the embeddings: every layer computes them like words."""

    @property
    def tokens_before(self) -> int:
        """Each row is longer by these."""
        return self.virtual_tokens


class DeepPromptParams(VirtualTokenParams):
    """Keys and values in every layer: attended to, never computed."""

    @field_validator("gradient_checkpointing")
    @classmethod
    def _no_checkpointing(cls, value: bool) -> bool:
        if value:
            raise ValueError(
                "gradient checkpointing computes a layer again without the trained keys and values: leave it off"
            )
        return value

    @property
    def cached_before(self) -> int:
        """Each row's keys and values begin with these."""
        return self.virtual_tokens

    def prompt_numbers(self, facts: ModelFacts) -> int:
        """A key and a value for each virtual token, layer and head that keeps them."""
        return self.virtual_tokens * facts.layers * 2 * facts.kv_heads * facts.head_dim

    def kept_beside(self, facts: ModelFacts) -> tuple[float, float]:
        """Keys and values are copied behind the prompt, and the mask has a column for each of it."""
        attention = facts.heads * facts.head_dim
        each_token = facts.layers * (2 * attention + self.virtual_tokens)
        prompts = self.batch_size * self.virtual_tokens * facts.layers * 2 * attention
        return float(each_token), float(prompts)
