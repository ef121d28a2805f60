"""Methods that put trained vectors before the text and leave every weight of the base alone."""

import inspect
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.common.params import TrainingParams
from labs.common.peft_tuning import ADAPTER, PeftTuning
from labs.common.state import matrices
from labs.contract import Json, LabError

P = TypeVar("P", bound=TrainingParams)
WEIGHTS = "prompt_encoder.safetensors"
DESCRIPTION = "prompt_encoder.json"


class PromptLearning(PeftTuning[P]):
    """The model with fresh vectors is never the base: step 0 is measured without them."""

    starts_as_base: ClassVar[bool] = False

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """The frozen base with fresh vectors before its text."""
        return with_positions(super().attach(base))

    def load(self, base: PreTrainedModel, folder: Path) -> PeftModel:
        """The base with saved vectors before its text."""
        return with_positions(super().load(base, folder))

    def untouched(self, model: PeftModel) -> AbstractContextManager[object]:
        """The base without the vectors."""
        opened: AbstractContextManager[object] = model.disable_adapter()
        return opened


class DeepPrompts(PromptLearning[P]):
    """Keys and values in every layer, which not every architecture takes."""

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """The frozen base with fresh keys and values, if it attends to them.

        Raises:
            LabError: If it does not.
        """
        model = super().attach(base)
        require_attention(model)
        return model


class EncodedPrompt(PromptLearning[P]):
    """A prompt that a small network may write. Training keeps the network, deploy what it wrote."""

    kept: ClassVar[str] = "prompt_encoder"
    library: ClassVar[str] = "bunsen"

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """The matrices of the network are pulled, the vectors that it reads are not."""
        return "embedding" not in name and matrices(name, parameter)

    def save(self, model: PeftModel, folder: Path, base_name: str) -> None:
        """Write the network with all its weights, to go on from or to fold."""
        weights = {name: each.contiguous() for name, each in encoder_of(model).state_dict().items()}
        save_file(weights, folder / WEIGHTS)
        described = {"base_model": base_name, "lab": self.lab.slug, **self.params.model_dump()}
        text = json.dumps(described, indent=1, default=str)
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")

    def load(self, base: PreTrainedModel, folder: Path) -> PeftModel:
        """A base with the trained network on it."""
        model = self.attach(base)
        encoder_of(model).load_state_dict(load_file(folder / WEIGHTS))
        return model.eval()


def with_positions(model: PeftModel) -> PeftModel:
    """Count positions over what is seen, in batches whose rows are filled up on the left too.

    peft 0.21 forgets the positions of a soft prompt: between it and a shorter row of a batch
    lies the padding, and the row is answered otherwise than alone.
    """
    base = model.get_base_model()
    if "position_ids" in inspect.signature(base.forward).parameters:
        base.register_forward_pre_hook(_give_positions, with_kwargs=True)
        wrapped: Any = model  # peft's types know nothing of this method
        prepare = wrapped.base_model_prepare_inputs_for_generation
        wrapped.base_model_prepare_inputs_for_generation = partial(_without_positions, prepare)
    return model


def _without_positions(prepare: Callable[..., Json], *args: Any, **kwargs: Any) -> Json:
    """What a model is given at each token, less the positions that peft would warn of."""
    return {**prepare(*args, **kwargs), "position_ids": None}


@torch.no_grad()
def require_attention(model: PeftModel) -> None:
    """Try keys and values on two tokens: what an architecture makes of them its config does not say."""
    ids = torch.ones(1, 2, dtype=torch.long, device=model.device)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    reason = "it says the same with and without them"
    try:
        with model.disable_adapter():
            before = model(**given).logits
        ignored = torch.equal(model(**given).logits, before)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the code of an architecture raises
        ignored, reason = True, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    if ignored:
        raise LabError(
            "“{architecture}” does not take trained keys and values before its text ({reason}). Choose another model, or prompt tuning.",
            architecture=type(model.get_base_model()).__name__,
            reason=reason,
        )


def _give_positions(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    mask, read = kwargs.get("attention_mask"), kwargs.get("inputs_embeds")
    read = kwargs.get("input_ids") if read is None else read
    if mask is None or mask.ndim != 2 or read is None or kwargs.get("position_ids") is not None:
        return args, kwargs
    positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
    return args, {**kwargs, "position_ids": positions[:, -read.shape[1] :]}


def encoder_of(model: PeftModel) -> nn.Module:
    """The module that gives the vectors: a table of them, or a network."""
    found: nn.Module = model.prompt_encoder[ADAPTER]
    return found


def words_of(base: nn.Module) -> Tensor:
    """The table of the base's embeddings, (V, d)."""
    found: Any = base
    table: Tensor = found.get_input_embeddings().weight
    return table


def vectors_of(model: PeftModel) -> Tensor:
    """The vectors themselves, float32 on the CPU, a row for each virtual token: what peft saves."""
    found: Tensor = model.get_prompt_embedding_to_save(ADAPTER)
    return found.float()
