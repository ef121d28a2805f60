"""Layers that an engine has quantized already: put in, and measured as our own are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from labs.compression.common.layerwise import Layer
from labs.compression.quantization.errors import output_error, weight_error
from labs.compression.quantization.grid import Rounded, round_to_nearest
from labs.compression.quantization.inputs import Inputs
from labs.compression.quantization.layers import MatrixReport
from labs.compression.quantization.scheme import Scheme
from labs.compression.quantization.sizes import matrix_bytes
from labs.models import Matrix as Shape


@dataclass(frozen=True, slots=True)
class Given:
    """A matrix as the engine rounded it, and the seconds that took."""

    rounded: Rounded
    seconds: float


class GivenLayers:
    """Puts matrices in whose integers are known; does not fold anything, so GPTQ only."""

    def __init__(self, scheme: Scheme, dtype: torch.dtype, given: Mapping[str, Given]) -> None:
        self.scheme, self.dtype, self.given = scheme, dtype, given

    def quantize(
        self, layer: Layer, inputs: Mapping[str, Inputs], prefix: str
    ) -> Iterator[tuple[MatrixReport, Rounded | None]]:
        """As `LayerQuantizer.quantize`, with what was given in place of what would be computed."""
        for name, matrix in layer.matrices.items():
            full = f"{prefix}.{layer.index}.{name}"
            given, before = self.given[full], matrix.weight.clone()
            rounded = given.rounded.to(str(before.device))
            after, hessian = rounded.weight, inputs[name].hessian
            matrix.put(after)
            plain = round_to_nearest(
                before, self.scheme.bits, self.scheme.group_size, self.scheme.symmetric, self.dtype
            )
            stored = matrix_bytes(Shape(1, *before.shape), self.scheme, self.dtype.itemsize)
            yield (
                MatrixReport(
                    name=full,
                    layer=layer.index,
                    layers=layer.count,
                    matrix=name,
                    output_error=output_error(before, after, hessian),
                    rounding_error=output_error(before, plain.weight, hessian),
                    weight_error=weight_error(before, after),
                    seconds=given.seconds,
                    bits=8 * stored / before.numel(),
                    kept_rows=0,
                    before=before,
                    after=after,
                ),
                rounded,
            )
