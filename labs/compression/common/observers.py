"""What is gathered of a matrix's inputs while calibration text passes: norms, or a Hessian."""

import torch
from torch import Tensor

from labs.compression.common.layerwise import Matrix


class Norms:
    """The L2 norm of each input over all tokens, ‖X_j‖₂ of Wanda (2306.11695, equation 1)."""

    def __init__(self, matrix: Matrix) -> None:
        weight = matrix.weight
        self.tokens = 0
        self._squares = torch.zeros(weight.shape[1], dtype=torch.float64, device=weight.device)

    def add(self, inputs: Tensor) -> None:
        """Take [tokens, in]."""
        self.tokens += len(inputs)
        self._squares += inputs.double().square().sum(0)

    @property
    def norms(self) -> Tensor:
        """[in], float32."""
        return self._squares.sqrt().float()


class Hessian:
    """H = 2 X Xᵀ / n, of the squared error of a layer's output (GPTQ, 2210.17323, equation 1).

    The mean over tokens rather than the sum: solutions are the same, and damping, which is relative
    to the mean of the diagonal, as well; numbers stay of a size.
    """

    def __init__(self, matrix: Matrix) -> None:
        weight = matrix.weight
        self.tokens = 0
        size = weight.shape[1]
        self.value = torch.zeros(size, size, dtype=torch.float32, device=weight.device)

    def add(self, inputs: Tensor) -> None:
        """Take [tokens, in]."""
        rows = inputs.float()
        before, self.tokens = self.tokens, self.tokens + len(rows)
        self.value *= before / self.tokens
        self.value.addmm_(rows.t(), rows, alpha=2 / self.tokens)
