"""Methods that the library peft carries out: what saving, loading and merging have in common."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, TypeVar

from peft import PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from labs.common.params import TrainingParams
from labs.common.tuning import Tuning

P = TypeVar("P", bound=TrainingParams)
ADAPTER = "default"


class PeftTuning(Tuning[P, PeftModel]):
    """A method of peft, described by its configuration."""

    library: ClassVar[str] = "peft"

    @abstractmethod
    def config(self, base: PreTrainedModel) -> PeftConfig:
        """The same parameters in peft's words."""

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """The frozen base with fresh parts on it."""
        prepared = self.prepare(base)
        self.checkpoint_gradients(prepared)
        made = get_peft_model(prepared, self.config(prepared))
        assert isinstance(made, PeftModel)  # mixed adapters are another class
        return made

    def prepare(self, base: PreTrainedModel) -> PreTrainedModel:
        """The base as the method wants it before anything is attached."""
        return base

    def save(self, model: PeftModel, folder: Path, base_name: str) -> None:
        """Write `adapter_config.json` and `adapter_model.safetensors`."""
        model.peft_config[ADAPTER].base_model_name_or_path = base_name
        # Embeddings are never trained here; left to itself peft would look the base up by name.
        model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)

    def load(self, base: PreTrainedModel, folder: Path) -> PeftModel:
        """The base with a saved adapter on it."""
        return PeftModel.from_pretrained(base, folder, is_trainable=False).eval()


def merged_into_base(model: PeftModel) -> PreTrainedModel:
    """One plain model; refuses to write not-a-number into the weights."""
    merged: PreTrainedModel = model.merge_and_unload(safe_merge=True)
    return merged


def keeps_inputs_first(base: PreTrainedModel) -> bool:
    """Whether matrices lie transposed (GPT-2's Conv1D), which peft wants to be told."""
    return any(isinstance(module, Conv1D) for module in base.modules())
