"""A way of tuning a language model, as the stages that all tuning labs share need it."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from transformers import PreTrainedModel

from labs.common.loading import DTYPES, CausalModel, load_model
from labs.common.params import TrainingParams
from labs.contract import N_, Json, Lab, LabContext

P = TypeVar("P", bound=TrainingParams)
M = TypeVar("M", bound=CausalModel)


class Tuning(ABC, Generic[P, M]):
    """What a method adds to a base model, what it keeps of it, and what it shows.

    A lab has one subclass; labs/common/stages carries it through setup, train and inference.
    """

    lab: ClassVar[Lab]
    # Name and kind of the artifact that training leaves, and the library that loads it.
    kept: ClassVar[str] = "adapter"
    library: ClassVar[str] = "peft"
    trained_part: ClassVar[str] = N_("Trained weights")
    # Whether the model with fresh parts says exactly what the base says.
    starts_as_base: ClassVar[bool] = True
    # How far its logits may then lie from the base's: 0 where nothing is rounded anew.
    start_tolerance: ClassVar[float] = 0.0

    def __init__(self, params: P) -> None:
        self.params = params

    def load_base(self, run: LabContext) -> PreTrainedModel:
        """The base as training sees it, in the run's precision."""
        return load_model(run.base_model, run.device, DTYPES[self.params.precision])

    @abstractmethod
    def attach(self, base: PreTrainedModel) -> M:
        """Freeze the base and add what is trained, drawn from torch's generator."""

    @abstractmethod
    def save(self, model: M, folder: Path, base_name: str) -> None:
        """Write what was trained, naming the base, not its path."""

    @abstractmethod
    def load(self, base: PreTrainedModel, folder: Path) -> M:
        """A base with what `save` wrote on it, for inference."""

    def load_tuned(self, run: LabContext, folder: Path) -> M:
        """The tuned model from the run's base and a saved artifact."""
        return self.load(self.load_base(run), folder)

    def untouched(self, model: M) -> AbstractContextManager[object]:
        """While it is open the model is the base, so that step 0 measures the base."""
        return nullcontext()

    def show_attached(self, model: M, run: LabContext) -> None:
        """Tables of what is trained, before it is."""

    def show_trained(self, model: M, run: LabContext) -> None:
        """What the page shows of the trained parts."""

    def after_training(self, model: M, run: LabContext) -> Json:
        """Figures of the method's own, for the summary of the stage."""
        return {}
