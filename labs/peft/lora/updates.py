"""The low-rank updates of a LoRA model of peft, one for each matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor

from labs.common.peft_tuning import ADAPTER


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
