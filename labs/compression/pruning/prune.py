"""A model pruned layer by layer, each from inputs that the pruned layers before it give."""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from labs.common.memory import synchronize
from labs.compression.common.layerwise import Layer, Matrix, compress_layerwise
from labs.compression.common.observers import Hessian, Norms
from labs.compression.pruning.costs import SAMPLED_TOKENS
from labs.compression.pruning.method import (
    choose,
    magnitude_scores,
    norm_spread,
    output_error,
    sparsegpt,
    wanda_scores,
)
from labs.compression.pruning.reports import Report
from labs.compression.pruning.spec import PruningParams


class Watched:
    """What a method needs to know of a matrix's inputs, and some of them to measure the error on."""

    def __init__(self, matrix: Matrix, params: PruningParams) -> None:
        self.norms = Norms(matrix) if params.method == "wanda" else None
        self.hessian = Hessian(matrix) if params.method == "sparsegpt" else None
        self._sample: list[Tensor] = []
        self._missing = SAMPLED_TOKENS

    def add(self, inputs: Tensor) -> None:
        """Take [tokens, in]."""
        for observer in (self.norms, self.hessian):
            if observer is not None:
                observer.add(inputs)
        if self._missing > 0:
            self._sample.append(inputs[: self._missing])
            self._missing -= len(self._sample[-1])

    @property
    def sample(self) -> Tensor:
        """Inputs of the first tokens, [tokens, in]."""
        return torch.cat(self._sample)


def pruned_weight(weight: Tensor, watched: Watched, params: PruningParams) -> Tensor:
    """A matrix with zeros where the method puts them, [out, in], in the format it had."""
    full = weight.float()
    if watched.hessian is not None:
        found = sparsegpt(
            full, watched.hessian.value, params.sparsity, params.group, params.damping
        )
        return found.to(weight.dtype)
    if watched.norms is not None:
        mask = choose(wanda_scores(full, watched.norms.norms), params.sparsity, params.group)
    else:
        scores = magnitude_scores(full)
        mask = choose(scores, params.sparsity, params.group, params.magnitude_within)
    return weight.masked_fill(mask, 0.0)


def prune_layer(
    layer: Layer, watched: Mapping[str, Watched], params: PruningParams, device: str
) -> list[Report]:
    """Prune every matrix of a layer in place."""
    return [
        _prune_matrix(layer.index, matrix, watched[name], params, device)
        for name, matrix in layer.matrices.items()
    ]


def prune_model(
    model: PreTrainedModel,
    blocks: Tensor,
    params: PruningParams,
    device: str,
    told: Callable[[Layer, Sequence[Report]], None] = lambda layer, reports: None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Prune the matrices of all decoder layers in place; embeddings and head stay as they are.

    Args:
        model: In evaluation mode, on the device.
        blocks: Calibration tokens, [samples, length], without padding.
        params: Method, pattern and sparsity.
        device: Of the model.
        told: Called after each layer, with what became of its matrices.
        check: Called before each block, so that a stop is noticed.
    """

    def compress(layer: Layer, watched: Mapping[str, Watched]) -> None:
        told(layer, prune_layer(layer, watched, params, device))

    if params.method == "magnitude":
        # It looks at weights only: text is needed for no more than the error.
        blocks = blocks[: -(-SAMPLED_TOKENS // blocks.shape[1])]
    compress_layerwise(
        model, blocks, device, lambda matrix: Watched(matrix, params), compress, check
    )


def _prune_matrix(
    index: int, matrix: Matrix, watched: Watched, params: PruningParams, device: str
) -> Report:
    before = matrix.weight.clone()
    synchronize(device)
    started = time.perf_counter()
    after = pruned_weight(before, watched, params)
    matrix.put(after)
    synchronize(device)
    seconds = time.perf_counter() - started
    outputs, inputs = before.shape
    return Report(
        layer=index,
        name=matrix.name,
        outputs=outputs,
        inputs=inputs,
        zeros=int((after == 0).sum()),
        error=output_error(before, after, watched.sample),
        spread=norm_spread(watched.sample),
        seconds=seconds,
    )
