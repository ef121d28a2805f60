"""Magnitude, Wanda and SparseGPT: which weights become zero, and what the others become.

        unstructured 50 %             2:4
        w  .  w  .  .  w  w  .        w  .  w  .  .  w  w  .
        each row, or the matrix,      each four inputs in a row of
        loses its lowest scores       the matrix lose their two lowest

Masks are True where a weight becomes zero. Matrices are [out, in], X is [in, tokens].
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from labs.compression.common.inverse import dead_inputs, inverse_factor

Within = Literal["row", "matrix"]
# Chooses what to zero of some columns, [columns, out], given the diagonal of the inverse, [columns].
Choice = Callable[[Tensor, Tensor], Tensor]

# Columns that SparseGPT chooses together and whose errors it passes on at once (section 3.3).
BLOCK = 128


def zeros_of(weights: int, sparsity: float) -> int:
    """How many of so many weights become zero: ⌊s · weights⌋, whatever floats make of it."""
    return math.floor(weights * sparsity + 1e-9)


def lowest(scores: Tensor, count: int) -> Tensor:
    """True at exactly `count` lowest scores along the last dimension; the first of equal ones.

    By selection, not by sorting: three times as fast.
    """
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    limit = scores.kthvalue(count, dim=-1, keepdim=True).values
    below, equal = scores < limit, scores == limit
    missing = count - below.sum(-1, keepdim=True)
    if int(missing.sum()) < int(equal.sum()):
        equal &= equal.cumsum(-1) <= missing
    return below | equal


def choose(scores: Tensor, sparsity: float, group: int = 0, within: Within = "row") -> Tensor:
    """The mask of the lowest scores.

    Args:
        scores: [out, in].
        sparsity: Share of the weights that become zero, 0 to 1; with a group it is one half.
        group: m of n:m with n = m / 2: so many inputs in a row are compared; 0 for no pattern.
        within: What is compared without a pattern: each output row, or the whole matrix.
    """
    if group:
        return lowest(scores.unflatten(1, (-1, group)), group // 2).flatten(1)
    if within == "matrix":
        return lowest(scores.flatten(), zeros_of(scores.numel(), sparsity)).view_as(scores)
    return lowest(scores, zeros_of(scores.shape[1], sparsity))


def magnitude_scores(weight: Tensor) -> Tensor:
    """S = |W| (Han et al. 2015, arXiv:1506.02626, section 3): what is small goes."""
    return weight.abs()


def wanda_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """S_ij = |W_ij| · ‖X_j‖₂ (Sun et al. 2023, arXiv:2306.11695, equation 1).

    The square of S_ij is what zeroing that one weight adds to the squared error of its output row,
    ‖W_i X − W'_i X‖² = W_ij² ‖X_j‖². A row's weights are compared with each other only: the norms
    are the same for all rows, and each row is an output of its own.

    Args:
        weight: W, [out, in].
        norms: ‖X_j‖₂ of each input over all calibration tokens, [in].
    """
    return weight.abs() * norms


def sparsegpt(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float,
    group: int = 0,
    damping: float = 0.01,
    block: int = BLOCK,
) -> Tensor:
    """Zero weights and let those behind them make up for it (Frantar & Alistarh 2023, 2301.00774).

    Algorithm 1: inputs are gone through from the first to the last. What is zeroed has the lowest
    w² / [H⁻¹]_jj, in which H⁻¹ is that of the inputs not yet gone through; it is chosen for a block
    of columns and all rows together, or for each group of m inputs in each row. Each zeroed weight
    w_j changes those behind it by −w_j / [H⁻¹]_jj · H⁻¹_j,j: .

    Args:
        weight: W, [out, in].
        hessian: 2 X Xᵀ / tokens, [in, in].
        sparsity: Share of the weights that become zero.
        group: m of n:m, or 0.
        damping: See `inverse_factor`.
        block: Columns that are chosen together.

    Returns:
        The new weights, [out, in], float32, with exact zeros. Weights of dead inputs are zero.

    Raises:
        LabError: If the Hessian cannot be inverted.
    """

    def lowest_saliency(columns: Tensor, diagonal: Tensor) -> Tensor:
        saliency = (columns / diagonal.unsqueeze(1)).square()
        if group:
            return lowest(saliency.t(), group // 2).t()
        zeros = zeros_of(saliency.numel(), sparsity)
        return lowest(saliency.flatten(), zeros).view_as(saliency)

    known = weight.float().masked_fill(dead_inputs(hessian), 0.0)
    factor = inverse_factor(hessian, damping)
    return eliminate(known, factor, lowest_saliency, group or block, block)


def eliminate(
    weight: Tensor, factor: Tensor, zeroed: Choice, span: int, block: int = BLOCK
) -> Tensor:
    """Go through the inputs once, zero what is chosen, and change what is behind.

    Updates reach the columns of the current block at once and those behind it in one product for
    the whole block, as in GPTQ. Columns lie as rows here, so that each is contiguous.

    Args:
        weight: [out, in], float32; left as it is.
        factor: U of `inverse_factor`, [in, in]; U_jj² is [H⁻¹]_jj of the inputs from j on.
        zeroed: Chooses among the next `span` columns, when the first of them is reached.
        span: A divisor of `block`, or the block itself.
        block: Columns whose errors are passed on together.

    Returns:
        [out, in], float32.
    """
    columns = weight.t().clone(memory_format=torch.contiguous_format)
    for start in range(0, len(columns), block):
        part = columns[start : start + block]
        end = start + len(part)
        errors = _eliminate_block(part, factor[start:end, start:end], zeroed, span)
        columns[end:].addmm_(factor[start:end, end:].t(), errors, alpha=-1)
    return columns.t().contiguous()


def _eliminate_block(part: Tensor, factor: Tensor, zeroed: Choice, span: int) -> Tensor:
    """One block of columns, [columns, out], changed in place; the errors to pass on, of that shape."""
    mask = torch.zeros_like(part, dtype=torch.bool)
    errors = torch.zeros_like(part)
    diagonal = factor.diagonal()
    for j in range(len(part)):
        if j % span == 0:
            ahead = slice(j, j + span)
            mask[ahead] = zeroed(part[ahead], diagonal[ahead])
        errors[j] = part[j] * mask[j] / diagonal[j]
        part[j + 1 :].addr_(factor[j, j + 1 :], errors[j], alpha=-1)
    # Only now: a weight that became zero was still needed for its error.
    part.masked_fill_(mask, 0.0)
    return errors


def output_error(before: Tensor, after: Tensor, inputs: Tensor) -> float:
    """‖(W − Ŵ) X‖² / ‖W X‖²: what a matrix says otherwise than before, relative.

    Args:
        before: W, [out, in].
        after: Ŵ, [out, in].
        inputs: Xᵀ of some tokens, [tokens, in].
    """
    rows = inputs.float()
    said = (rows @ before.float().t()).square().sum()
    moved = (rows @ (before.float() - after.float()).t()).square().sum()
    return float(moved / said) if said > 0 else 0.0


def norm_spread(inputs: Tensor) -> float:
    """The largest ‖X_j‖₂ as a multiple of the median one; 0 where that is 0. Takes Xᵀ, [tokens, in]."""
    norms = torch.linalg.vector_norm(inputs.float(), dim=0)
    middle = float(norms.median())
    return float(norms.max()) / middle if middle > 0 else 0.0
