"""Bottleneck adapters as the shared stages need them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from labs.common.state import matrices
from labs.common.tuning import Tuning, own_loader
from labs.contract import N_, Column, LabContext
from labs.peft.adapter import loader
from labs.peft.adapter.method import Adapter, bottleneck
from labs.peft.adapter.spec import LAB, PARTS, AdapterParams

NAME = "adapter"
INSIDE = f".{NAME}."
WEIGHTS = "adapters.safetensors"
DESCRIPTION = "adapters.json"
# The adapters of one task, by the paths of the parts they stand behind.
Adapters = Mapping[str, Adapter]


class AdapterTuning(Tuning[AdapterParams, PreTrainedModel]):
    """Modules behind the parts of each layer, put in by hooks: the base's own code stays as it is."""

    lab = LAB
    kept = "bottlenecks"
    library = "safetensors"
    trained_part = N_("Bottlenecks")

    def attach(self, base: PreTrainedModel) -> PreTrainedModel:
        """Freeze the base and stand an adapter behind each part; fresh ones change nothing."""
        self.checkpoint_gradients(base)
        base.requires_grad_(False)
        hidden = base.config.hidden_size
        width = bottleneck(hidden, self.params.reduction_factor)
        fresh = {path: Adapter(hidden, width, self.params.activation) for path in self._parts(base)}
        return put(base, fresh)

    def save(self, model: PreTrainedModel, folder: Path, base_name: str) -> None:
        """Write the adapters, by the names of their parameters, and how they were made."""
        weights = {n: p.detach().cpu().contiguous() for n, p in own_parameters(model)}
        save_file(weights, folder / WEIGHTS)
        own = ("reduction_factor", "activation", "placement")
        described = {"base_model": base_name, **self.params.model_dump(include=set(own))}
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")

    def load(self, base: PreTrainedModel, folder: Path) -> PreTrainedModel:
        """A base with saved adapters in it."""
        model: PreTrainedModel = put(base, read(folder)).eval()
        return model

    def loading(self, base_name: str) -> str:
        """A loader that needs nothing of Bunsen."""
        return own_loader(loader, "add_adapters(model)", base_name)

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """W_up and W_down: with zeros in either the adapter changes nothing."""
        return matrices(name, parameter)

    def show_attached(self, model: PreTrainedModel, run: LabContext) -> None:
        """Parameters layer by layer."""
        layers: dict[str, list[int]] = {}
        for name, parameter in own_parameters(model):
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
        ups = [(n, p) for n, p in own_parameters(model) if n.endswith(f"{INSIDE}up.weight")]
        rows = [[_short(name), float(weight.norm())] for name, weight in ups]
        columns = [Column("adapter", "Adapter"), Column("norm", "Length of W_up (Frobenius)")]
        run.table("adapter_norms", "How much each bottleneck adds", columns, rows)

    def _parts(self, base: PreTrainedModel) -> list[str]:
        """Paths of attention and feed-forward of each layer, as far as they get an adapter."""
        names = {name for part in PARTS[self.params.placement] for name in part}
        paths = (path.split(".") for path, _ in base.named_modules())
        return [
            ".".join(steps)
            for steps in paths
            if len(steps) > 1 and steps[-1] in names and steps[-2].isdigit()
        ]


class AdapterTasks:
    """The adapters of several tasks beside one base; a switch puts other modules in their places."""

    def __init__(self, base: PreTrainedModel, folder: Path) -> None:
        first = read(folder)
        self.model = put(base, first).eval()
        self._tasks = {"default": first}

    def add(self, folder: Path, name: str) -> None:
        """Read the adapters of one more task."""
        adapters = read(folder)
        for adapter in adapters.values():
            adapter.to(self.model.device).eval()
        self._tasks[name] = adapters

    def use(self, name: str) -> None:
        """Put the adapters of a task where those of another stand."""
        for path, adapter in self._tasks[name].items():
            self.model.get_submodule(path).add_module(NAME, adapter)


def put(base: PreTrainedModel, adapters: Adapters) -> PreTrainedModel:
    """Stand each adapter behind its part, in float32 on the part's device."""
    for path, adapter in adapters.items():
        part = base.get_submodule(path)
        part.add_module(NAME, adapter.to(next(part.parameters()).device))
        part.register_forward_hook(_through_adapter)
    return base


def read(folder: Path) -> dict[str, Adapter]:
    """Saved adapters; their sizes are those of their weights."""
    weights = load_file(folder / WEIGHTS)
    activation = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["activation"]
    adapters = {}
    for path in dict.fromkeys(name.partition(INSIDE)[0] for name in weights):
        own = {n.partition(INSIDE)[2]: w for n, w in weights.items() if n.startswith(path + INSIDE)}
        width, hidden = own["down.weight"].shape
        adapters[path] = Adapter(hidden, width, activation)
        adapters[path].load_state_dict(own)
    return adapters


def own_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters of the adapters in a model."""
    return ((n, p) for n, p in model.named_parameters() if INSIDE in n)


def _through_adapter(part: Any, inputs: Any, output: Any) -> Any:
    """What the part gives goes through its adapter; attention gives its weights as well."""
    if isinstance(output, tuple):
        return (part.adapter(output[0]), *output[1:])
    return part.adapter(output)


def _short(name: str) -> str:
    """`model.layers.3.mlp.adapter.up.weight` stands at `3.mlp`."""
    return ".".join(name.partition(INSIDE)[0].split(".")[-2:])
