"""Bottleneck adapters as the shared stages need them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from labs.common.tuning import Tuning
from labs.contract import N_, Column, LabContext
from labs.peft.adapter.method import Adapter, bottleneck
from labs.peft.adapter.spec import LAB, PARTS, AdapterParams

NAME = "adapter"
WEIGHTS = "adapters.safetensors"
DESCRIPTION = "adapters.json"


class AdapterTuning(Tuning[AdapterParams, PreTrainedModel]):
    """Modules behind the parts of each layer, put in by hooks: the base's own code stays as it is."""

    lab = LAB
    kept = "bottlenecks"
    library = "bunsen"
    trained_part = N_("Bottlenecks")

    def attach(self, base: PreTrainedModel) -> PreTrainedModel:
        """Freeze the base and stand an adapter behind each part; fresh ones change nothing."""
        params = self.params
        if params.gradient_checkpointing:
            base.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        base.requires_grad_(False)
        hidden = base.config.hidden_size
        width = bottleneck(hidden, params.reduction_factor)
        for part in list(self._parts(base)):
            adapter = Adapter(hidden, width, params.activation)
            part.add_module(NAME, adapter.to(next(part.parameters()).device))
            part.register_forward_hook(_through_adapter)
        return base

    def save(self, model: PreTrainedModel, folder: Path, base_name: str) -> None:
        """Write the adapters, by the names of their parameters, and how they were made."""
        weights = {n: p.detach().cpu().contiguous() for n, p in _own(model)}
        save_file(weights, folder / WEIGHTS)
        params = self.params
        described = {
            "base_model": base_name,
            "reduction_factor": params.reduction_factor,
            "activation": params.activation,
            "placement": params.placement,
        }
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")

    def load(self, base: PreTrainedModel, folder: Path) -> PreTrainedModel:
        """A base with saved adapters in it."""
        model = self.attach(base)
        missing = model.load_state_dict(load_file(folder / WEIGHTS), strict=False).missing_keys
        assert not [name for name in missing if f".{NAME}." in name], "adapters without weights"
        return model.eval()

    def show_attached(self, model: PreTrainedModel, run: LabContext) -> None:
        """Parameters layer by layer."""
        layers: dict[str, list[int]] = {}
        for name, parameter in _own(model):
            number = next(part for part in name.split(".") if part.isdigit())
            layers.setdefault(number, []).append(parameter.numel())
        columns = [
            Column("layer", "Layer"),
            Column("tensors", "Tensors"),
            Column("trained", "Trained", "parameters"),
        ]
        rows = [[layer, len(sizes), sum(sizes)] for layer, sizes in layers.items()]
        run.table("trainable_share", "What is trained, layer by layer", columns, rows)

    @torch.no_grad()
    def show_trained(self, model: PreTrainedModel, run: LabContext) -> None:
        """How large the up projections became: zero would mean that a layer needs none."""
        found = [(name, module) for name, module in model.named_modules() if name.endswith(NAME)]
        rows = [[_short(name), float(_up(module).norm())] for name, module in found]
        columns = [Column("adapter", "Adapter"), Column("norm", "Length of W_up (Frobenius)")]
        run.table("adapter_norms", "How much each bottleneck adds", columns, rows)

    def _parts(self, base: PreTrainedModel) -> Iterator[nn.Module]:
        """Attention and feed-forward of each layer, as far as they get an adapter."""
        names = {name for part in PARTS[self.params.placement] for name in part}
        for path, module in base.named_modules():
            steps = path.split(".")
            if len(steps) > 1 and steps[-1] in names and steps[-2].isdigit():
                yield module


def _through_adapter(part: nn.Module, inputs: Any, output: Any) -> Any:
    """What the part gives goes through its adapter; attention gives its weights as well."""
    adapter: Any = part.get_submodule(NAME)
    if isinstance(output, tuple):
        return (adapter(output[0]), *output[1:])
    return adapter(output)


def _own(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((n, p) for n, p in model.named_parameters() if f".{NAME}." in n)


def _up(module: Any) -> torch.Tensor:
    weight: torch.Tensor = module.up.weight
    return weight


def _short(path: str) -> str:
    steps = path.split(".")
    return ".".join(step for step in steps[-3:-1])
