"""Scales of inputs moved from a matrix into what stands before it; the function stays the same.

W x  =  (W diag(s)) (diag(s)⁻¹ x)
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from labs.compression.common.layerwise import Layer, Matrix
from labs.compression.quantization.families import FAMILIES, LINEAR, Family, Fold
from labs.contract import LabError


def family_of(model_type: str) -> Family:
    """What is known of a family.

    Raises:
        LabError: If nothing is known of it.
    """
    if model_type not in FAMILIES:
        raise LabError(
            "How scales could be folded is not known of models of the family {family}.",
            parameter="method",
            family=model_type,
        )
    return FAMILIES[model_type]


def norm_folds(layer: Layer, family: Family) -> Iterator[Fold]:
    """Norms and the matrices that read them, as far as this layer has them."""
    for fold in family.norms:
        readers = tuple(name for name in fold.readers if name in layer.matrices)
        if readers:
            yield Fold(fold.source, readers)


def linear_folds(layer: Layer) -> Iterator[Fold]:
    """Linear maps whose every output is one input of a reader; not so where heads share values."""
    for fold in LINEAR:
        source, reader = (layer.matrices.get(name) for name in (fold.source, *fold.readers))
        if source and reader and source.weight.shape[0] == reader.weight.shape[1]:
            yield fold


def apply_fold(layer: Layer, fold: Fold, scales: Tensor, offset: float) -> None:
    """Multiply the readers' columns by scales, [in], and divide what makes their inputs by them.

    `offset` is the family's, of its norms.
    """
    for name in fold.readers:
        matrix = layer.matrices[name]
        matrix.put(matrix.weight * scales)
    if fold.source in layer.matrices:
        _divide_rows(layer.matrices[fold.source], scales)
    else:
        _divide_norm(layer.module.get_submodule(fold.source), scales, offset)


def _divide_rows(matrix: Matrix, scales: Tensor) -> None:
    matrix.put(matrix.weight / scales.unsqueeze(1))
    bias = getattr(matrix.module, "bias", None)
    if bias is not None:
        bias.data.div_(scales)


def _divide_norm(norm: nn.Module, scales: Tensor, offset: float) -> None:
    """Weights and bias of a norm; Gemma's multiply by one more than they say."""
    weight: Tensor = norm.weight.data  # type: ignore[assignment]  # a Parameter of every norm
    weight.copy_((weight.float() + offset) / scales - offset)
    bias = getattr(norm, "bias", None)
    if isinstance(bias, torch.Tensor):
        bias.data.div_(scales)
