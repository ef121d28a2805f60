"""One decoder layer quantized: scales folded where the method does so, then matrix by matrix."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from labs.compression.common.layerwise import Layer, Matrix
from labs.compression.quantization.activations import round_but_outliers, round_tokens
from labs.compression.quantization.awq import round_clipped, search_scales
from labs.compression.quantization.by_bitsandbytes import int8_rounded, nf4_weight
from labs.compression.quantization.errors import output_error, tokens_error, weight_error
from labs.compression.quantization.families import Family, Fold
from labs.compression.quantization.folding import apply_fold, linear_folds, norm_folds
from labs.compression.quantization.grid import Rounded, round_to_nearest
from labs.compression.quantization.inputs import Inputs, Seen
from labs.compression.quantization.method import gptq, keep_better_rows
from labs.compression.quantization.scheme import Scheme
from labs.compression.quantization.sizes import NF4_BLOCK, matrix_bytes
from labs.compression.quantization.smoothquant import smoothing_scales
from labs.models import Matrix as Shape

# AWQ leaves the ranges of these alone: their outputs meet in a product, and an error of the one
# depends on the other.
UNCLIPPED = ("q_proj", "k_proj")


@dataclass(frozen=True, slots=True)
class MatrixReport:
    """What became of one matrix.

    Attributes:
        name: Of its module in the model.
        layer: Which layer, from 0.
        layers: How many there are.
        matrix: Its name within the layer.
        output_error: ‖WX − ŴX̂‖² / ‖WX‖² on the calibration tokens.
        rounding_error: The same by plain rounding to integers of as many bits, without the method.
        weight_error: ‖W − Ŵ‖² / ‖W‖², after scales were folded in.
        seconds: What it took, with its share of the search for scales.
        bits: Stored for each weight, scales and zero points counted.
        kept_rows: Rows for which plain rounding was better than GPTQ, and was kept.
        before: W, [out, in], after scales were folded in; valid during the call only.
        after: Ŵ, [out, in]; valid during the call only.
    """

    name: str
    layer: int
    layers: int
    matrix: str
    output_error: float
    rounding_error: float
    weight_error: float
    seconds: float
    bits: float
    kept_rows: int
    before: Tensor = field(repr=False)
    after: Tensor = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Made:
    """A rounded matrix; with bitsandbytes only what it computes, which stores its own way."""

    weight: Tensor
    rounded: Rounded | None = None
    kept_rows: int = 0


class LayerQuantizer:
    """Quantizes layers by a scheme, each in place."""

    def __init__(self, scheme: Scheme, dtype: torch.dtype, family: Family | None) -> None:
        self.scheme, self.dtype, self.family = scheme, dtype, family

    def quantize(
        self, layer: Layer, inputs: Mapping[str, Inputs], prefix: str
    ) -> Iterator[tuple[MatrixReport, Rounded | None]]:
        """Quantize the matrices of a layer, one by one; `inputs` are those before any folding."""
        plain = {
            name: self._error(matrix.weight, self._plainly(matrix.weight).weight, inputs[name])
            for name, matrix in layer.matrices.items()
        }
        started = time.perf_counter()
        scales = self._fold(layer, inputs)
        share = (time.perf_counter() - started) / max(len(layer.matrices), 1)
        for name, matrix in layer.matrices.items():
            seen: Seen = inputs[name].scaled(scales[name]) if name in scales else inputs[name]
            started = time.perf_counter()
            before = matrix.weight.clone()
            made = self._made(name, before, seen, inputs[name])
            matrix.put(made.weight)
            seconds = share + time.perf_counter() - started
            self._watch_inputs(matrix)
            yield (
                MatrixReport(
                    name=f"{prefix}.{layer.index}.{name}",
                    layer=layer.index,
                    layers=layer.count,
                    matrix=name,
                    output_error=self._error(before, made.weight, seen),
                    rounding_error=plain[name],
                    weight_error=weight_error(before, made.weight),
                    seconds=seconds,
                    bits=self._bits(before),
                    kept_rows=made.kept_rows,
                    before=before,
                    after=made.weight,
                ),
                made.rounded,
            )

    def _fold(self, layer: Layer, inputs: Mapping[str, Inputs]) -> dict[str, Tensor]:
        """Fold scales into what stands before the matrices; those of each matrix, [in]."""
        if self.family is None:
            return {}
        folds = [*norm_folds(layer, self.family)]
        if self.scheme.method == "awq":
            folds += linear_folds(layer)
        found: dict[str, Tensor] = {}
        for fold in folds:
            scales = self._scales(layer, fold, inputs[fold.readers[0]])
            apply_fold(layer, fold, scales, self.family.offset)
            found.update(dict.fromkeys(fold.readers, scales))
        return found

    def _scales(self, layer: Layer, fold: Fold, inputs: Inputs) -> Tensor:
        weights = [layer.matrices[name].weight for name in fold.readers]
        if self.scheme.method == "smoothquant":
            return smoothing_scales(inputs.largest, weights, self.scheme.smoothing)
        return search_scales(
            weights, inputs.hessian, inputs.mean, lambda weight: self._plainly(weight).weight
        )[0]

    def _made(self, name: str, weight: Tensor, seen: Seen, inputs: Inputs) -> _Made:
        scheme = self.scheme
        if scheme.method == "nf4":
            return _Made(nf4_weight(weight, scheme.double_quantization))
        if scheme.method == "int8":
            return _Made(int8_rounded(weight).weight)
        kept = 0
        if scheme.method == "gptq":
            rounded, kept = self._by_gptq(weight, inputs)
        elif scheme.method == "awq" and scheme.clipping and not name.endswith(UNCLIPPED):
            rounded = round_clipped(weight, seen.hessian, scheme, self.dtype)
        else:
            rounded = self._plainly(weight)
        return _Made(rounded.weight, rounded, kept)

    def _by_gptq(self, weight: Tensor, inputs: Inputs) -> tuple[Rounded, int]:
        scheme = self.scheme
        made = gptq(
            weight,
            inputs.factor(scheme.damping, scheme.activation_order),
            scheme.bits,
            scheme.group_size,
            scheme.symmetric,
            inputs.order() if scheme.activation_order else None,
            self.dtype,
        )
        return keep_better_rows(weight, inputs.hessian, made, self._plainly(weight))

    def _plainly(self, weight: Tensor) -> Rounded:
        """Rounded to nearest, on integers of as many bits and as many scales."""
        scheme = self.scheme
        size = scheme.group_size if scheme.stored == "pack-quantized" else None
        if scheme.method == "nf4" and weight.shape[1] % NF4_BLOCK == 0:
            size = NF4_BLOCK
        return round_to_nearest(weight, scheme.bits, size, scheme.symmetric, self.dtype)

    def _error(self, weight: Tensor, made: Tensor, seen: Seen) -> float:
        if self.scheme.quantizes_activations:
            return tokens_error(weight, made, seen.tokens, self._rounding_of_inputs())
        return output_error(weight, made, seen.hessian)

    def _rounding_of_inputs(self) -> Callable[[Tensor], Tensor]:
        return round_but_outliers if self.scheme.method == "int8" else round_tokens

    def _watch_inputs(self, matrix: Matrix) -> None:
        """Let the matrix read integers from now on, where the method does so."""
        if self.scheme.quantizes_activations:
            rounding = self._rounding_of_inputs()
            matrix.module.register_forward_pre_hook(lambda module, args: (rounding(args[0]),))

    def _bits(self, weight: Tensor) -> float:
        shape = Shape(1, *weight.shape)
        return 8 * matrix_bytes(shape, self.scheme, self.dtype.itemsize) / weight.numel()
