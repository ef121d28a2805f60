"""How far a rounded matrix is from the one it was made from: in its weights, and in its output.

With H = 2XXᵀ / n of all tokens, the error of the output needs no tokens any more:
‖(W − Ŵ)X‖² is, up to that factor, tr((W − Ŵ) H (W − Ŵ)ᵀ), a sum over the rows of W.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def row_errors(weight: Tensor, made: Tensor, hessian: Tensor) -> Tensor:
    """(w − ŵ) H (w − ŵ)ᵀ of each row: [out], float32.

    Args:
        weight: W, [out, in].
        made: Ŵ, [out, in].
        hessian: H, [in, in].
    """
    difference = weight.float() - made
    return ((difference @ hessian) * difference).sum(1)


def row_errors_of_tokens(
    weight: Tensor, made: Tensor, tokens: Tensor, rounded: Callable[[Tensor], Tensor]
) -> Tensor:
    """The same where inputs are rounded too, on the tokens themselves: ‖wX − ŵX̂‖², [out].

    Args:
        weight: W, [out, in].
        made: Ŵ, [out, in].
        tokens: X, [tokens, in].
        rounded: Makes X̂ of X.
    """
    inputs = tokens.float()
    return (rounded(inputs) @ made.t() - inputs @ weight.float().t()).square().sum(0)


def output_error(weight: Tensor, made: Tensor, hessian: Tensor) -> float:
    """‖(W − Ŵ)X‖² / ‖WX‖²: the share of the output's energy that is lost."""
    nothing = torch.zeros_like(made)
    return share(row_errors(weight, made, hessian), row_errors(weight, nothing, hessian))


def weight_error(weight: Tensor, made: Tensor) -> float:
    """‖W − Ŵ‖² / ‖W‖²."""
    numbers = weight.float()
    return share((numbers - made).square(), numbers.square())


def share(parts: Tensor, wholes: Tensor) -> float:
    """Sum by sum; nothing of nothing is nothing."""
    whole = float(wholes.sum())
    return max(0.0, float(parts.sum())) / whole if whole > 0 else 0.0
