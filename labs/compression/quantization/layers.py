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
from labs.compression.quantization.errors import (
    row_errors,
    row_errors_of_tokens,
    share,
    weight_error,
)
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
        output_error: ‖WX − ŴX̂‖² / ‖WX‖² on the calibration tokens, each output in the size that it
            had before scales were folded.
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
class _Plain:
    """A matrix rounded to nearest, as it was before any folding.

    Attributes:
        rounded: Integers and grid.
        errors: Of the output, row by row, [out].
        energy: Of the output itself, row by row, [out].
    """

    rounded: Rounded
    errors: Tensor
    energy: Tensor


@dataclass(frozen=True, slots=True)
class _Made:
    """A matrix as it became.

    Attributes:
        weight: What it computes with, [out, in].
        errors: Of the output, row by row, [out].
        rounded: Integers and grid; none with bitsandbytes, which stores its own way.
        kept_rows: Rows that plain rounding did better.
    """

    weight: Tensor
    errors: Tensor
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
        plain = {name: self._plain(m.weight, inputs[name]) for name, m in layer.matrices.items()}
        started = time.perf_counter()
        scales, divided = self._fold(layer, inputs)
        part = (time.perf_counter() - started) / max(len(layer.matrices), 1)
        for name, matrix in layer.matrices.items():
            started = time.perf_counter()
            before = matrix.weight.clone()
            made = self._made(name, before, inputs[name], scales.get(name), plain[name])
            matrix.put(made.weight)
            seconds = part + time.perf_counter() - started
            self._round_inputs(matrix)
            errors = made.errors * divided[name].square() if name in divided else made.errors
            yield (
                MatrixReport(
                    name=f"{prefix}.{layer.index}.{name}",
                    layer=layer.index,
                    layers=layer.count,
                    matrix=name,
                    output_error=share(errors, plain[name].energy),
                    rounding_error=share(plain[name].errors, plain[name].energy),
                    weight_error=weight_error(before, made.weight),
                    seconds=seconds,
                    bits=self._bits(before),
                    kept_rows=made.kept_rows,
                    before=before,
                    after=made.weight,
                ),
                made.rounded,
            )

    def _fold(
        self, layer: Layer, inputs: Mapping[str, Inputs]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Fold scales into what stands before the matrices.

        Returns:
            By the names of matrices, what their columns were multiplied by, [in]; and what the rows
            of those that stand before others were divided by, [out].
        """
        if self.family is None:
            return {}, {}
        folds = [*norm_folds(layer, self.family)]
        if self.scheme.method == "awq":
            folds += linear_folds(layer)
        found: dict[str, Tensor] = {}
        divided: dict[str, Tensor] = {}
        for fold in folds:
            scales = self._scales(layer, fold, inputs[fold.readers[0]])
            apply_fold(layer, fold, scales, self.family.offset)
            found.update(dict.fromkeys(fold.readers, scales))
            divided[fold.source] = scales
        return found, divided

    def _scales(self, layer: Layer, fold: Fold, inputs: Inputs) -> Tensor:
        weights = [layer.matrices[name].weight for name in fold.readers]
        if self.scheme.method == "smoothquant":
            return smoothing_scales(inputs.largest, weights, self.scheme.smoothing)
        return search_scales(
            weights, inputs.hessian, inputs.mean, lambda weight: self._plainly(weight).weight
        )[0]

    def _made(
        self, name: str, weight: Tensor, inputs: Inputs, scales: Tensor | None, plain: _Plain
    ) -> _Made:
        if self.scheme.method == "gptq":
            return self._by_gptq(weight, inputs, plain)
        seen = inputs if scales is None else inputs.scaled(scales)
        if self.scheme.stored == "bitsandbytes":
            made = self._by_bitsandbytes(weight)
            return _Made(made, self._errors(weight, made, seen))
        if self.scheme.method == "rtn":
            return _Made(plain.rounded.weight, plain.errors, plain.rounded)
        clipped = self.scheme.clipping and not name.endswith(UNCLIPPED)
        if self.scheme.method == "awq" and clipped:
            rounded = round_clipped(weight, seen.hessian, self.scheme, self.dtype)
        else:
            rounded = self._plainly(weight)
        return _Made(rounded.weight, self._errors(weight, rounded.weight, seen), rounded)

    def _by_bitsandbytes(self, weight: Tensor) -> Tensor:
        if self.scheme.method == "nf4":
            return nf4_weight(weight, self.scheme.double_quantization).float()
        return int8_rounded(weight).weight

    def _by_gptq(self, weight: Tensor, inputs: Inputs, plain: _Plain) -> _Made:
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
        errors = self._errors(weight, made.weight, inputs)
        better = keep_better_rows(made, errors, plain.rounded, plain.errors)
        kept = int((plain.errors < errors).sum())
        return _Made(better.weight, torch.minimum(errors, plain.errors), better, kept)

    def _plain(self, weight: Tensor, seen: Seen) -> _Plain:
        rounded = self._plainly(weight)
        nothing = torch.zeros_like(weight, dtype=torch.float32)
        errors = self._errors(weight, rounded.weight, seen)
        return _Plain(rounded, errors, self._errors(weight, nothing, seen))

    def _plainly(self, weight: Tensor) -> Rounded:
        """Rounded to nearest, on integers of as many bits and as many scales."""
        scheme = self.scheme
        size = scheme.group_size if scheme.stored == "pack-quantized" else None
        if scheme.method == "nf4" and weight.shape[1] % NF4_BLOCK == 0:
            size = NF4_BLOCK
        return round_to_nearest(weight, scheme.bits, size, scheme.symmetric, self.dtype)

    def _errors(self, weight: Tensor, made: Tensor, seen: Seen) -> Tensor:
        if self.scheme.quantizes_activations:
            return row_errors_of_tokens(weight, made, seen.tokens, self._rounding_of_inputs())
        return row_errors(weight, made, seen.hessian)

    def _rounding_of_inputs(self) -> Callable[[Tensor], Tensor]:
        return round_but_outliers if self.scheme.method == "int8" else round_tokens

    def _round_inputs(self, matrix: Matrix) -> None:
        """Let the matrix read integers from now on, where the method does so."""
        if self.scheme.quantizes_activations:
            rounding = self._rounding_of_inputs()
            matrix.module.register_forward_pre_hook(lambda module, args: (rounding(args[0]),))

    def _bits(self, weight: Tensor) -> float:
        shape = Shape(1, *weight.shape)
        return 8 * matrix_bytes(shape, self.scheme, self.dtype.itemsize) / weight.numel()
