"""GPTQ in plain torch, as the paper writes it (Frantar et al. 2022, arXiv:2210.17323).

    minimise ‖WX − ŴX‖²  =  ½ Σ_rows (w − ŵ) H (w − ŵ)ᵀ,   H = 2XXᵀ            (equation 1)

Columns are rounded one after the other. What rounding column i leaves as an error is handed on to
the columns that are still free, so that they make up for it (equations 2 and 3):

    e_i = (w_i − ŵ_i) / U_ii          w_j ← w_j − e_i · U_ij   for j > i

where U is the upper Cholesky factor of H⁻¹ = UᵀU (`labs.compression.common.inverse`), which holds all
the rows of inverses that the paper's "step 3" needs.

The other methods are in modules of their own: rounding to nearest in `grid`, then `awq`, `smoothquant`
with `activations`, and `by_bitsandbytes` for LLM.int8 and NF4. `layers` brings them to a decoder layer.
"""

import torch
from torch import Tensor

from labs.compression.quantization.grid import Grid, Rounded, fit_grid

# Columns whose errors reach the rest of the matrix at once (section 3.3, "lazy batch updates").
BLOCK = 128


def gptq(
    weight: Tensor,
    factor: Tensor,
    bits: int,
    group_size: int | None,
    symmetric: bool,
    order: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Rounded:
    """Round a matrix column by column, each error made up for by the columns that follow.

    Without an order, a group's grid is fitted when its first column is reached, to the weights as
    they are by then. With an order, columns of a group are not reached together, so all grids are
    fitted to the original weights ("static groups"): checkpoints then need no index of groups.

    Args:
        weight: [out, in], not changed.
        factor: `inverse_factor` of the damped Hessian, its rows and columns in `order`.
        bits: Of a weight.
        group_size: Inputs that share a scale, None for a whole row.
        symmetric: Without zero points.
        order: Which column comes when, [in]; None goes from left to right. With the largest inputs
            first, they find the most columns free to make up for them ("act-order").
        dtype: In which scales are stored.

    Returns:
        Integers and grid, columns in their original order.
    """
    # Transposed, a column is one stretch of memory: all that follows works on rows of `free`.
    ordered = weight if order is None else weight[:, order]
    free = ordered.float().t().contiguous()
    inputs = len(free)
    size = group_size or inputs
    grids = _Grids(weight, bits, size, symmetric, dtype, static=order is not None or size == inputs)
    columns = torch.arange(inputs) if order is None else order.cpu()
    groups = (columns // size).tolist()
    integers = torch.empty_like(free)
    # A group that is fitted when it is reached lies in one block, or its weights would be stale.
    block = BLOCK if grids.static else max(BLOCK // size, 1) * size
    for start in range(0, inputs, block):
        end = min(start + block, inputs)
        errors = _round_block(free, factor, start, end, groups, grids, integers)
        free[end:].addmm_(factor[start:end, end:].t(), errors, alpha=-1)
    unordered = integers if order is None else integers[torch.argsort(order)]
    return grids.rounded(unordered.t())


def keep_better_rows(
    made: Rounded, made_errors: Tensor, plain: Rounded, plain_errors: Tensor
) -> Rounded:
    """Row by row the one with the smaller error of the output, (w − ŵ) H (w − ŵ)ᵀ.

    GPTQ is greedy: a column cannot know what the next ones will be rounded to, and one that has
    taken over errors may leave the range of its grid. So for some rows, mostly with two bits,
    plain rounding happens to be better. Rows do not touch each other in the objective and have
    their own scales, so each may take the better of both. Not in the paper.

    Args:
        made: By `gptq`.
        made_errors: `row_errors` of it, [out].
        plain: By `round_to_nearest`.
        plain_errors: `row_errors` of that, [out].
    """
    rows = (plain_errors < made_errors).unsqueeze(1)
    zero = None
    if made.grid.zero is not None and plain.grid.zero is not None:
        zero = torch.where(rows, plain.grid.zero, made.grid.zero)
    scale = torch.where(rows, plain.grid.scale, made.grid.scale)
    integers = torch.where(rows, plain.integers, made.integers)
    return Rounded(integers, Grid(made.grid.bits, scale, zero))


class _Grids:
    """The grids of all groups, each [out], ready for a column: static, or fitted when reached."""

    def __init__(
        self,
        weight: Tensor,
        bits: int,
        size: int,
        symmetric: bool,
        dtype: torch.dtype,
        static: bool,
    ) -> None:
        self.bits, self.size, self.symmetric, self.dtype = bits, size, symmetric, dtype
        self.static = static
        fitted = fit_grid(weight, bits, size, symmetric, dtype)
        # [groups, out]: what belongs to a column is one stretch of memory.
        self.scales = fitted.scale.t().contiguous()
        zeros = torch.zeros_like(self.scales) if fitted.zero is None else fitted.zero.t()
        self.zeros = zeros.contiguous()
        self.lowest, self.highest = fitted.lowest, fitted.highest

    def reach(self, group: int, columns: Tensor) -> None:
        """Fit a group to its weights as they are now: [size, out]."""
        fitted = fit_grid(columns.t(), self.bits, None, self.symmetric, self.dtype)
        self.scales[group] = fitted.scale.squeeze(1)
        if fitted.zero is not None:
            self.zeros[group] = fitted.zero.squeeze(1)

    def rounded(self, shifted: Tensor) -> Rounded:
        """The result, from integers that lie around zero: [out, in]."""
        zeros = None if self.symmetric else self.zeros.t().contiguous()
        grid = Grid(self.bits, self.scales.t().contiguous(), zeros)
        if zeros is not None:
            shifted = shifted + zeros.repeat_interleave(self.size, dim=1)
        return Rounded(shifted.to(torch.int8).contiguous(), grid)


def _round_block(
    free: Tensor,
    factor: Tensor,
    start: int,
    end: int,
    groups: list[int],
    grids: _Grids,
    integers: Tensor,
) -> Tensor:
    """Round the columns from `start` to `end`; their errors, [columns, out], are for those behind.

    `free` is [in, out]. Within the block each error is handed on at once.
    """
    errors = torch.empty(end - start, free.shape[1], device=free.device)
    stairs = factor[start:end, start:end]
    steps = stairs.diagonal().tolist()
    for column in range(start, end):
        place, group = column - start, groups[column]
        if not grids.static and column % grids.size == 0:
            grids.reach(group, free[column : column + grids.size])
        weights, scale, zero = free[column], grids.scales[group], grids.zeros[group]
        # Integers around zero, (q − z): all that the loop needs.
        number = integers[column]
        torch.div(weights, scale, out=number)
        number.round_()
        torch.clamp(number, grids.lowest - zero, grids.highest - zero, out=number)
        error = errors[place]
        torch.addcmul(weights, number, scale, value=-1, out=error)
        error.div_(steps[place])
        free[column + 1 : end].addr_(stairs[place, place + 1 :], error, alpha=-1)
    return errors
