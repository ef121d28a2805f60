"""A way of tuning a language model, as the stages that all tuning labs share need it."""

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Generic, TypeVar

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.common.cards import loading_lines
from labs.common.data import Prepared, Question, prepare
from labs.common.evaluation import ask
from labs.common.formatting import Encoded
from labs.common.guides import served_by_peft
from labs.common.latency import Latency, measure_latency
from labs.common.loading import DTYPES, CausalModel, load_model, load_tokenizer
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
    # Whether the model with fresh parts says what the base says.
    starts_as_base: ClassVar[bool] = True

    def __init__(self, params: P) -> None:
        self.params = params

    def load_base(self, run: LabContext) -> PreTrainedModel:
        """The base as training sees it, in the run's precision."""
        return load_model(run.base_model, run.device, DTYPES[self.params.precision])

    def rows(self, run: LabContext) -> Prepared:
        """The run's dataset as the method learns it."""
        return prepare(run.dataset, load_tokenizer(run.base_model), self.params.max_length)

    def learned(self, tokenizer: PreTrainedTokenizerBase, row: Encoded) -> str:
        """What a row teaches, in words."""
        return str(tokenizer.decode(list(row.ids[row.prompt_length :])))

    def ask(
        self,
        model: CausalModel,
        tokenizer: PreTrainedTokenizerBase,
        questions: Sequence[Question],
        device: str,
    ) -> list[str]:
        """A model's answers, in words."""
        return ask(model, tokenizer, questions, device, self.params)

    def latency(
        self,
        model: CausalModel,
        prompts: Sequence[Sequence[int]],
        device: str,
        check: Callable[[], None],
    ) -> Latency:
        """How long an answer takes."""
        return measure_latency(model, prompts, device, check)

    @abstractmethod
    def attach(self, base: PreTrainedModel) -> M:
        """Freeze the base and add what is trained, drawn from torch's generator."""

    def checkpoint_gradients(self, base: PreTrainedModel) -> None:
        """Keep few activations and compute the others twice, where the run asks for it."""
        if self.params.gradient_checkpointing:
            base.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )

    @abstractmethod
    def save(self, model: M, folder: Path, base_name: str) -> None:
        """Write what was trained, naming the base, not its path."""

    @abstractmethod
    def load(self, base: PreTrainedModel, folder: Path) -> M:
        """A base with what `save` wrote on it, for inference."""

    def load_tuned(self, run: LabContext, folder: Path) -> M:
        """The tuned model from the run's base and a saved artifact."""
        return self.load(self.load_base(run), folder)

    def loading(self, base_name: str) -> str:
        """The lines of Python that load what `save` wrote, run in its folder."""
        return loading_lines(self.library, base_name)

    def serving(self, base_name: str) -> str:
        """The lines of Python that keep two tasks beside one base; empty where none are known."""
        return served_by_peft(base_name) if self.library in ("peft", "bunsen") else ""

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether weight decay pulls a trained parameter: only where zero means “no change”."""
        return False

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


def own_loader(module: ModuleType, call: str, base_name: str) -> str:
    """The text of a lab's own loader, and the lines that call it on a base."""
    text = inspect.getsource(module).partition('"""\n\n')[2]
    opened = f"model = AutoModelForCausalLM.from_pretrained({json.dumps(base_name)})"
    imported = "from transformers import AutoModelForCausalLM"
    return f"{text}\n\n{imported}\n\n{opened}\n{call}\n"
