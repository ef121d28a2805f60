"""The work that a body asks for: to be priced, or to be started."""

from typing import Any
from uuid import UUID

from pydantic import Field

from app.api.reply import Body


class Work(Body):
    """What a run is made of; what is left out is the lab's own."""

    lab: str
    params: dict[str, Any] = Field(default_factory=dict)
    stages: list[str] | None = None
    base_model: str | None = None
    dataset: str | None = None
    seed: int | None = None
    parent_run: UUID | None = None
