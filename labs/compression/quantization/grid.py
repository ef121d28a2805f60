"""Grids of integers: which numbers a quantized weight can be, and rounding to them.

    q = clamp(round(w / s) + z, −2^(b−1), 2^(b−1) − 1)        ŵ = s · (q − z)

as in Jacob et al. 2018 (1712.05877, equation 1), with signed integers, as checkpoints of
compressed-tensors hold them. A scale s and a zero point z belong to one output row, or to one
group of neighbouring inputs of it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Grid:
    """Scales and zero points of a matrix: both [out, groups]; one group is a whole row.

    Zero points are whole numbers in the format of the scales; None where the grid is symmetric.
    """

    bits: int
    scale: Tensor
    zero: Tensor | None = None

    @property
    def lowest(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        return (1 << (self.bits - 1)) - 1


@dataclass(frozen=True, slots=True)
class Rounded:
    """A matrix on its grid: integers [out, in], int8, and the grid they belong to."""

    integers: Tensor
    grid: Grid

    @property
    def weight(self) -> Tensor:
        """What the integers stand for: [out, in], float32."""
        return from_integers(self.integers, self.grid)

    def to(self, device: str) -> "Rounded":
        """The same on another device."""
        zero = None if self.grid.zero is None else self.grid.zero.to(device)
        grid = Grid(self.grid.bits, self.grid.scale.to(device), zero)
        return Rounded(self.integers.to(device), grid)


def fit_grid(
    weight: Tensor,
    bits: int,
    group_size: int | None,
    symmetric: bool,
    dtype: torch.dtype = torch.float32,
    clip: Tensor | float = 1.0,
) -> Grid:
    """The grid that just covers the weights, zero among them.

    Symmetric: s = 2 max|w| / (2^b − 1). Asymmetric: s = (max(w, 0) − min(w, 0)) / (2^b − 1) and
    z = −2^(b−1) − round(min(w, 0) / s). Both are the grids of the GPTQ reference code.

    Args:
        weight: [out, in].
        bits: Of an integer.
        group_size: Inputs that share a scale; a divisor of `in`. None for a row.
        symmetric: No zero points.
        dtype: In which scales are stored: they are rounded to it before anything is rounded by them.
        clip: Share of the range that is kept; a number, or [out, groups].

    Raises:
        ValueError: If the group size does not divide the inputs.
    """
    outputs, inputs = weight.shape
    size = group_size or inputs
    if inputs % size:
        raise ValueError(f"groups of {size} do not divide {inputs} inputs")
    grouped = weight.float().view(outputs, inputs // size, size)
    low = grouped.amin(2).clamp(max=0) * clip
    high = grouped.amax(2).clamp(min=0) * clip
    steps = (1 << bits) - 1
    if symmetric:
        return Grid(bits, _scale(2 * torch.maximum(-low, high) / steps, dtype))
    scale = _scale((high - low) / steps, dtype)
    lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return Grid(bits, scale, (lowest - torch.round(low / scale)).clamp(lowest, highest))


def _scale(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded to what is stored; a group of zeros is exact on any grid."""
    stored = scale.to(dtype).float()
    return torch.where(stored == 0, torch.ones_like(stored), stored)


def to_integers(weight: Tensor, grid: Grid) -> Tensor:
    """q, the nearest integers of the grid: [out, in], int8. Halves go to the even neighbour."""
    scaled = _grouped(weight.float(), grid) / grid.scale.unsqueeze(2)
    # Adding z after rounding would be the same but for halves, where checkpoints round the sum.
    shifted = scaled if grid.zero is None else scaled + grid.zero.unsqueeze(2)
    integers = torch.round(shifted).clamp_(grid.lowest, grid.highest)
    return integers.to(torch.int8).view(weight.shape)


def from_integers(integers: Tensor, grid: Grid) -> Tensor:
    """ŵ = s · (q − z): [out, in], float32."""
    numbers = _grouped(integers.float(), grid)
    shifted = numbers if grid.zero is None else numbers - grid.zero.unsqueeze(2)
    return (shifted * grid.scale.unsqueeze(2)).view(integers.shape)


def round_to_nearest(
    weight: Tensor,
    bits: int,
    group_size: int | None,
    symmetric: bool,
    dtype: torch.dtype = torch.float32,
    clip: Tensor | float = 1.0,
) -> Rounded:
    """Each weight rounded on its own, on the grid that `fit_grid` gives; no inputs are looked at."""
    grid = fit_grid(weight, bits, group_size, symmetric, dtype, clip)
    return Rounded(to_integers(weight, grid), grid)


def _grouped(weight: Tensor, grid: Grid) -> Tensor:
    """[out, in] as [out, groups, size]."""
    return weight.reshape(len(weight), grid.scale.shape[1], -1)
