"""Add saved steps to the biases of a model, without Bunsen. The model card shows this file."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn


def add_bias_delta(model: nn.Module, folder: str | Path = ".") -> nn.Module:
    """b + Δb in place of b, computed in float32 and kept in the model's own format."""
    parameters = dict(model.named_parameters())
    for name, step in load_file(Path(folder, "bias_delta.safetensors")).items():
        bias = parameters[name]
        bias.data = (bias.data.float() + step.to(bias.device)).to(bias.dtype)
    return model
