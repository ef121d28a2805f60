"""Base, LoRA and tuned models, as the stages of this lab load them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from labs.common.loading import DTYPES, load_model
from labs.contract import LabContext
from labs.peft.lora.spec import ALL_LINEAR, LoraParams

ADAPTER = "default"
# Of each compared prompt: all logits of long rows would take more memory than the training.
COMPARED_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Update:
    """The low-rank update beside one matrix: s · BA."""

    module: str
    a: Tensor
    b: Tensor
    scale: float
    base_parameters: int
    trainable: int

    @property
    def kind(self) -> str:
        """`model.layers.0.self_attn.q_proj` is a `q_proj`."""
        return self.module.rpartition(".")[2]

    @property
    def short_name(self) -> str:
        """The layer's number and the kind: `0.q_proj`."""
        numbers = [part for part in self.module.split(".") if part.isdigit()]
        return ".".join([*numbers[:1], self.kind])


def load_base(params: LoraParams, run: LabContext) -> PreTrainedModel:
    """The frozen base as training sees it: in the run's precision, quantized if asked."""
    return load_model(
        run.base_model,
        run.device,
        dtype=DTYPES[params.precision],
        quantization=params.base_quantization,
        double_quantization=params.double_quantization,
    )


def add_lora(model: PreTrainedModel, params: LoraParams) -> PeftModel:
    """Freeze the model and put A and B beside its matrices; A is drawn from torch's generator."""
    if params.base_quantization != "none":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if params.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return get_peft_model(model, lora_config(params))


def lora_config(params: LoraParams) -> LoraConfig:
    """The same parameters in peft's words."""
    names = list(params.target_modules)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=params.rank,
        lora_alpha=params.alpha,  # type: ignore[arg-type]  # peft divides by it; fractions are fine
        lora_dropout=params.dropout,
        target_modules=ALL_LINEAR if names == [ALL_LINEAR] else names,
        use_rslora=params.variant == "rslora",
        use_dora=params.variant == "dora",
    )


def load_tuned(base: PreTrainedModel, adapter: Path) -> PeftModel:
    """A base with a saved adapter on it, for inference."""
    return PeftModel.from_pretrained(base, adapter, is_trainable=False).eval()


def save_adapter(model: PeftModel, folder: Path, base_name: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, naming the base, not its path."""
    config = model.peft_config[ADAPTER]
    config.base_model_name_or_path = base_name
    # Embeddings are never trained here; left to itself peft would look the base up by name.
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)


def updates(model: PeftModel) -> Iterator[Update]:
    """Every update of a LoRA model, in the order of its modules."""
    for name, layer in model.get_base_model().named_modules():
        if isinstance(layer, LoraLayer):
            yield _update(name, layer)


def _update(name: str, layer: Any) -> Update:
    """Read one layer of peft, whose parts carry no types."""
    return Update(
        module=name,
        a=layer.lora_A[ADAPTER].weight.detach(),
        b=layer.lora_B[ADAPTER].weight.detach(),
        scale=float(layer.scaling[ADAPTER]),
        base_parameters=layer.in_features * layer.out_features,
        trainable=sum(p.numel() for p in layer.parameters() if p.requires_grad),
    )


@torch.inference_mode()
def logits(model: torch.nn.Module, prompts: list[tuple[int, ...]], device: str) -> list[Tensor]:
    """Logits of the beginnings of a few prompts, each (T, V) float32 on the CPU."""
    model.eval()
    beginnings = [torch.tensor([prompt[:COMPARED_TOKENS]], device=device) for prompt in prompts]
    return [model(input_ids=ids).logits[0].float().cpu() for ids in beginnings]


def largest_difference(first: list[Tensor], second: list[Tensor]) -> float:
    """max |Δlogit| over all positions of all prompts."""
    return max(float((x - y).abs().max()) for x, y in zip(first, second, strict=True))
