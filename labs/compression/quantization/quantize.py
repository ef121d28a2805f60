"""A whole model quantized, layer by layer, whatever the method: the door for the stages.

Each layer is observed with the inputs that the quantized layers before it give, its scales are folded
where the method does that, and its matrices are rounded. Embeddings and the output head stay whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.compression.common.layerwise import Layer, compress_layerwise, decoder_layers
from labs.compression.quantization.folding import family_of
from labs.compression.quantization.given import Given, GivenLayers
from labs.compression.quantization.grid import Rounded
from labs.compression.quantization.inputs import Reader, Shelf
from labs.compression.quantization.layers import LayerQuantizer, MatrixReport
from labs.compression.quantization.scheme import Scheme

__all__ = ["MatrixReport", "QuantizedModel", "quantize_model"]


@dataclass(frozen=True, slots=True)
class QuantizedModel:
    """A model whose weights lie on their grids, and what a checkpoint of it needs.

    Attributes:
        model: Computes what the loaded checkpoint will compute.
        scheme: How it was quantized.
        dtype: In which scales and everything unquantized are stored.
        device: Of the model.
        matrices: Integers and grids by the name of the module, on the CPU; none with bitsandbytes.
    """

    model: PreTrainedModel
    scheme: Scheme
    dtype: torch.dtype
    device: str
    matrices: Mapping[str, Rounded]


def quantize_model(
    model: PreTrainedModel,
    blocks: Tensor,
    scheme: Scheme,
    device: str,
    dtype: torch.dtype,
    told: Callable[[MatrixReport], None] = lambda report: None,
    check: Callable[[], None] = lambda: None,
    given: Mapping[str, Given] | None = None,
) -> QuantizedModel:
    """Quantize all matrices of the decoder layers, in place.

    Args:
        model: Of full precision, in evaluation mode, on the device.
        blocks: Calibration tokens, [samples, length], without padding.
        scheme: Method, bits, groups.
        device: Of the model.
        dtype: In which scales and everything unquantized will be stored.
        told: Hears of each matrix as soon as it is done.
        check: Called often; may raise to stop.
        given: What an engine made of the matrices, by their names; they are put in and measured.

    Raises:
        LabError: If it is not known how scales are folded in models of this family, or a Hessian
            cannot be inverted.
    """
    family = family_of(str(model.config.model_type)) if scheme.folds else None
    quantizer = (
        LayerQuantizer(scheme, dtype, family)
        if given is None
        else GivenLayers(scheme, dtype, given)
    )
    prefix = _name_of(model, decoder_layers(model))
    matrices: dict[str, Rounded] = {}
    shelf = Shelf()

    def compress(layer: Layer, watched: Mapping[str, Reader]) -> None:
        inputs = {name: reader.inputs for name, reader in watched.items()}
        for report, rounded in quantizer.quantize(layer, inputs, prefix):
            check()
            if rounded is not None:
                matrices[report.name] = rounded.to("cpu")
            told(report)

    compress_layerwise(model, blocks, device, lambda matrix: Reader(matrix, shelf), compress, check)
    _round_the_rest(model, matrices, dtype)
    return QuantizedModel(model, scheme, dtype, device, matrices)


@torch.no_grad()
def _round_the_rest(model: nn.Module, matrices: Mapping[str, Rounded], dtype: torch.dtype) -> None:
    """Let everything unquantized be what a checkpoint in that format holds."""
    for name, parameter in model.named_parameters():
        if matrices and name.removesuffix(".weight") not in matrices:
            parameter.copy_(parameter.to(dtype))


def _name_of(model: nn.Module, part: nn.Module) -> str:
    names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
    return names[part]
