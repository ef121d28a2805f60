"""Put saved bottlenecks into a model, without Bunsen. The model card shows this file."""

import json
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


def add_adapters(model: nn.Module, folder: str | Path = ".") -> nn.Module:
    """h + W_up f(W_down h + b_down) + b_up behind each part of the model that has a bottleneck."""
    f = getattr(F, json.loads(Path(folder, "adapters.json").read_text())["activation"])
    saved = load_file(Path(folder, "adapters.safetensors"))
    first = next(model.parameters())
    saved = {name: weight.to(first) for name, weight in saved.items()}
    for path in {name.partition(".adapter.")[0] for name in saved}:

        def adapted(
            part: nn.Module, inputs: Any, output: Any, own: str = f"{path}.adapter."
        ) -> Any:
            h = output[0] if isinstance(output, tuple) else output
            inside = f(F.linear(h, saved[f"{own}down.weight"], saved[f"{own}down.bias"]))
            h = h + F.linear(inside, saved[f"{own}up.weight"], saved[f"{own}up.bias"])
            return (h, *output[1:]) if isinstance(output, tuple) else h

        model.get_submodule(path).register_forward_hook(adapted)
    return model
