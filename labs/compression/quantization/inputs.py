"""What a matrix reads while calibration text passes, gathered once for all that read the same."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from labs.compression.common.inverse import inverse_factor
from labs.compression.common.layerwise import Matrix
from labs.compression.common.observers import Hessian

# Tokens that are kept as they are, where an error cannot be told from the Hessian alone.
KEPT = 1024


class Seen(Protocol):
    """What an error of the output is computed from."""

    @property
    def hessian(self) -> Tensor:
        """[in, in]."""

    @property
    def tokens(self) -> Tensor:
        """[tokens, in]."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """Inputs as they are after scales were folded into what makes them."""

    hessian: Tensor
    tokens: Tensor


class Inputs:
    """Hessian, mean and largest size of each input, and the first tokens themselves.

    Attributes:
        mean: Mean |x_j| over all tokens, [in]; AWQ's measure of which weights matter.
        largest: max |x_j|, [in]; SmoothQuant's measure of outliers.
    """

    def __init__(self, matrix: Matrix) -> None:
        weight = matrix.weight
        self._hessian = Hessian(matrix)
        self.mean = torch.zeros(weight.shape[1], device=weight.device)
        self.largest = torch.zeros_like(self.mean)
        self._tokens: list[Tensor] = []
        self._kept = 0
        self._factors: dict[tuple[float, bool], Tensor] = {}

    def add(self, inputs: Tensor) -> None:
        """Take [tokens, in]."""
        before = self._hessian.tokens
        self._hessian.add(inputs)
        sizes = inputs.float().abs()
        self.mean += (sizes.mean(0) - self.mean) * (len(sizes) / (before + len(sizes)))
        self.largest = torch.maximum(self.largest, sizes.amax(0))
        if self._kept < KEPT:
            self._tokens.append(inputs[: KEPT - self._kept].clone())
            self._kept += len(self._tokens[-1])

    def scaled(self, scales: Tensor) -> Scaled:
        """The same inputs divided by scales, [in]."""
        return Scaled(self.hessian / torch.outer(scales, scales), self.tokens / scales)

    @property
    def hessian(self) -> Tensor:
        """H = 2XXᵀ / n, [in, in]."""
        return self._hessian.value

    @property
    def tokens(self) -> Tensor:
        """The first tokens, [tokens, in]; none where the matrix was never used."""
        return torch.cat(self._tokens) if self._tokens else self.mean.new_zeros(0, len(self.mean))

    def order(self) -> Tensor:
        """Inputs by their size, the largest first: [in]. GPTQ's "activation order"."""
        return torch.argsort(self.hessian.diagonal(), descending=True, stable=True)

    def factor(self, damping: float, ordered: bool) -> Tensor:
        """`inverse_factor` of H, its rows and columns in `order` if asked for; computed once."""
        if (damping, ordered) not in self._factors:
            hessian = self.hessian
            if ordered:
                hessian = hessian[self.order()][:, self.order()]
            self._factors[damping, ordered] = inverse_factor(hessian, damping)
        return self._factors[damping, ordered]


class Reader:
    """Watches one matrix; where another one was given the very same tensor, shares its `Inputs`."""

    def __init__(self, matrix: Matrix, shelf: "Shelf") -> None:
        self._matrix = matrix
        self._shelf = shelf
        self._inputs: Inputs | None = None

    def add(self, inputs: Tensor) -> None:
        """Take [tokens, in]."""
        shared = self._shelf.taken(inputs)
        if shared is None:
            self.inputs.add(inputs)
            self._shelf.take(inputs, self.inputs)
        else:
            self._inputs = shared

    @property
    def inputs(self) -> Inputs:
        """What was gathered; nothing at all where the matrix was never used."""
        if self._inputs is None:
            self._inputs = Inputs(self._matrix)
        return self._inputs


class Shelf:
    """The tensor that was read last, held so that its memory cannot become another one's."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, int, Inputs] | None = None

    def taken(self, inputs: Tensor) -> Inputs | None:
        """What has gathered this tensor, if it was the last one."""
        if self._last is None:
            return None
        tensor, version, gathered = self._last
        same = tensor.data_ptr() == inputs.data_ptr() and tensor.shape == inputs.shape
        return gathered if same and inputs._version == version else None

    def take(self, inputs: Tensor, gathered: Inputs) -> None:
        """Remember who gathered a tensor."""
        self._last = (inputs, inputs._version, gathered)
