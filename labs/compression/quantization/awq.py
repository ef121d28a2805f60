"""AWQ: weights of large inputs scaled up before they are rounded (Lin et al. 2023, arXiv:2306.00978).

    minimise over α in [0, 1]:  ‖Q(W diag(s)) diag(s)⁻¹ X − W X‖²,   s = mean|X|^α    (equations 4, 5)

The error of the output follows from H = 2XXᵀ, so that no tokens are kept. α = 0 is plain rounding:
what is found is never worse on the text it was found with.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labs.compression.quantization.errors import row_errors
from labs.compression.quantization.grid import Rounded, round_to_nearest
from labs.compression.quantization.scheme import Scheme

# α = 0, 1/20, … as in the authors' code; and the ranges that are tried, from whole to half.
STEPS = 20
RANGES = tuple(1 - step / 20 for step in range(11))


def search_scales(
    weights: Sequence[Tensor], hessian: Tensor, mean: Tensor, rounded: Callable[[Tensor], Tensor]
) -> tuple[Tensor, float]:
    """The scales with the smallest error of the output, and their α.

    Args:
        weights: All matrices that read these inputs, each [out, in].
        hessian: Of their inputs, [in, in].
        mean: Mean |x_j|, [in].
        rounded: Q, a matrix as it is after rounding.

    Returns:
        s, [in], and α.
    """
    best, found, alpha = torch.inf, torch.ones_like(mean), 0.0
    for step in range(STEPS):
        scales = importance_scales(mean, step / STEPS)
        error = sum(
            float(row_errors(weight, rounded(weight * scales) / scales, hessian).sum())
            for weight in weights
        )
        if error < best:
            best, found, alpha = error, scales, step / STEPS
    return found, alpha


def importance_scales(mean: Tensor, alpha: float) -> Tensor:
    """mean|x|^α, set around one: √(max · min) = 1. An input that was always zero keeps its weights."""
    powers = torch.where(mean > 0, mean, torch.ones_like(mean)) ** alpha
    scales = (powers / (powers.max() * powers.min()).sqrt()).clamp(min=1e-4)
    return torch.where(mean > 0, scales, torch.ones_like(scales))


def round_clipped(weight: Tensor, hessian: Tensor, scheme: Scheme, dtype: torch.dtype) -> Rounded:
    """Rounded on grids that may leave out a group's largest weights, where the output gains by it.

    Each group takes the range with the smallest error of its own part of the output, without what
    other groups add to it; where that made the whole worse, nothing is cut (appendix of the paper).

    Args:
        weight: [out, in].
        hessian: [in, in].
        scheme: Bits, groups, symmetry.
        dtype: In which scales are stored.
    """
    whole = _rounded(weight, scheme, dtype, 1.0)
    clip = _best_ranges(weight, hessian, scheme, dtype, whole.grid.scale.shape[1])
    cut = _rounded(weight, scheme, dtype, clip)
    better = (
        row_errors(weight, cut.weight, hessian).sum()
        < row_errors(weight, whole.weight, hessian).sum()
    )
    return cut if better else whole


def _best_ranges(
    weight: Tensor, hessian: Tensor, scheme: Scheme, dtype: torch.dtype, groups: int
) -> Tensor:
    """Share of the range that is kept: [out, groups]."""
    size = weight.shape[1] // groups
    blocks = hessian.view(groups, size, groups, size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    least = torch.full((len(weight), groups), torch.inf, device=weight.device)
    clip = torch.ones_like(least)
    for share in RANGES:
        difference = weight.float() - _rounded(weight, scheme, dtype, share).weight
        grouped = difference.view(len(weight), groups, size).transpose(0, 1)
        errors = ((grouped @ blocks) * grouped).sum(2).t()
        better = errors < least
        least, clip = torch.where(better, errors, least), clip.masked_fill(better, share)
    return clip


def _rounded(weight: Tensor, scheme: Scheme, dtype: torch.dtype, clip: Tensor | float) -> Rounded:
    return round_to_nearest(weight, scheme.bits, scheme.group_size, scheme.symmetric, dtype, clip)
