"""Who learns what: the rows and the loss of a training, how it is judged, where it reports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from labs.common.batches import Batch, collate
from labs.common.formatting import Encoded
from labs.common.loss import answer_loss
from labs.common.state import Decays, never

Evaluation = Callable[[], dict[str, float]]
# The loss of a batch, summed over its target tokens.
Loss = Callable[[nn.Module, Batch], Tensor]


class Reporter(Protocol):
    """What training needs of a run; every `LabContext` is one."""

    seed: int
    device: str

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record metric points of one step."""

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far it is."""

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """Keep a state to resume from."""

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """Step and folder of the newest one."""

    def resumed(self, step: int) -> None:
        """Say that training continues after this step."""

    def check_stop(self) -> None:
        """Raise `Stopped` if somebody asked for it."""

    def stopping(self) -> bool:
        """Whether somebody asked for it."""


class Objective(Protocol):
    """What a training minimizes: rows to draw from, and the loss of a batch of them."""

    @property
    def count(self) -> int:
        """How many rows there are."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """These rows, ready for the loss; `labels` say which tokens are targets."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Summed over the target tokens of a batch."""

    def parts(self) -> dict[str, float]:
        """What the loss of the last update consisted of, by metric key; forgets it."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The cross-entropy of answers given their prompts."""

    rows: Sequence[Encoded]
    pad: int
    device: str

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def batch(self, indices: Sequence[int]) -> Batch:
        """These rows, padded."""
        return collate([self.rows[i] for i in indices], self.pad, self.device)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Nats, summed over target tokens."""
        return answer_loss(model, batch)

    def parts(self) -> dict[str, float]:
        """It is one loss only."""
        return {}


@dataclass(frozen=True, slots=True)
class Learner:
    """A model that learns, possibly beside others: what it minimizes, and how it is judged.

    `evaluate` gives at least "eval/loss", without changing the model; `evaluate_base` the same for
    the untouched base, where the model does not start as it. Of what is logged `names` keeps some
    under other keys; without it all is logged as it is.
    """

    model: nn.Module
    objective: Objective
    evaluate: Evaluation
    evaluate_base: Evaluation | None = None
    decays: Decays = never
    names: Mapping[str, str] | None = None

    def named(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values under the keys of this learner."""
        if self.names is None:
            return dict(values)
        return {self.names[key]: value for key, value in values.items() if key in self.names}
