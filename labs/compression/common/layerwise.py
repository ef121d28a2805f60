"""A model compressed layer by layer, each from what the compressed layers before it give it.

The scheme of GPTQ (2210.17323), SparseGPT (2301.00774) and Wanda (2306.11695): all calibration
blocks go through one decoder layer, its matrices are observed at work, it is compressed, and the
blocks go through it once more, so that the next layer sees inputs as they will be.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from labs.contract import LabError


class Observer(Protocol):
    """Gathers what a matrix is given."""

    def add(self, inputs: Tensor) -> None:
        """Take the inputs of some tokens: [tokens, in]."""


Watcher = TypeVar("Watcher", bound=Observer)


@dataclass(slots=True)
class Matrix:
    """A linear map inside a layer, whichever way round its module stores the weights."""

    name: str
    module: nn.Module

    @property
    def weight(self) -> Tensor:
        """[out, in]; a view of what the module holds."""
        stored: Tensor = self.module.weight  # type: ignore[assignment]  # a Parameter of Linear and Conv1D
        return stored.data.t() if isinstance(self.module, Conv1D) else stored.data

    def put(self, weight: Tensor) -> None:
        """Replace the weights by others of the same shape: [out, in]."""
        self.weight.copy_(weight)


@dataclass(slots=True)
class Layer:
    """One decoder layer and its matrices, by their names inside of it."""

    index: int
    count: int
    module: nn.Module
    matrices: Mapping[str, Matrix]


@dataclass(slots=True)
class _Stream:
    """What stands before a layer: hidden states of all blocks, and the call's other arguments."""

    hidden: list[Tensor] = field(default_factory=list)
    arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)


class _Enough(Exception):
    """The first layer has been reached; nothing behind it is needed."""


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The decoder layers of a causal language model: its longest list of modules.

    Raises:
        LabError: If it has none.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise LabError("This model has no list of layers that could be compressed one by one.")
    return max(lists, key=lambda found: sum(p.numel() for p in found.parameters()))


def matrices_of(layer: nn.Module) -> dict[str, Matrix]:
    """The linear maps of a layer, by name, in the order of its modules."""
    return {
        name: Matrix(name, module)
        for name, module in layer.named_modules()
        if isinstance(module, (nn.Linear, Conv1D))
    }


@torch.no_grad()
def compress_layerwise(
    model: PreTrainedModel,
    blocks: Tensor,
    device: str,
    observer: Callable[[Matrix], Watcher],
    compress: Callable[[Layer, Mapping[str, Watcher]], None],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Compress every decoder layer in place, each with inputs from the compressed ones before it.

    Args:
        model: In evaluation mode, on the device.
        blocks: Calibration tokens, [samples, length], without padding.
        device: Of the model.
        observer: Makes what watches a matrix.
        compress: Changes the matrices of a layer, given what was observed of each.
        check: Called before each block, so that a stop is noticed.
    """
    layers = decoder_layers(model)
    stream = _before_first(model, layers[0], blocks, device)
    for index, module in enumerate(layers):
        layer = Layer(index, len(layers), module, matrices_of(module))
        watched = {name: observer(matrix) for name, matrix in layer.matrices.items()}
        with _watching(layer, watched):
            for place in range(len(stream.hidden)):
                check()
                _pass(module, stream, place)
        compress(layer, watched)
        del watched
        # Nothing stands behind the last layer.
        for place in range(len(stream.hidden) if index + 1 < len(layers) else 0):
            check()
            stream.hidden[place] = _pass(module, stream, place)


def _before_first(model: PreTrainedModel, first: nn.Module, blocks: Tensor, device: str) -> _Stream:
    stream = _Stream()

    def catch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stream.hidden.append(args[0] if args else kwargs.pop("hidden_states"))
        stream.arguments.append((args[1:], {**kwargs, "use_cache": False}))
        raise _Enough

    hook = first.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        for block in blocks:
            try:
                model(input_ids=block.unsqueeze(0).to(device), use_cache=False)
            except _Enough:
                continue
    finally:
        hook.remove()
    return stream


def _pass(module: nn.Module, stream: _Stream, place: int) -> Tensor:
    args, kwargs = stream.arguments[place]
    out: Tensor | tuple[Tensor, ...] = module(stream.hidden[place], *args, **kwargs)
    return out[0] if isinstance(out, tuple) else out


@contextmanager
def _watching(layer: Layer, watched: Mapping[str, Observer]) -> Iterator[None]:
    def watch(observer: Observer) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, args: observer.add(args[0].flatten(0, -2))

    hooks = [
        layer.matrices[name].module.register_forward_pre_hook(watch(observer))
        for name, observer in watched.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
