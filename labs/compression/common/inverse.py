"""The inverse Hessian as GPTQ and SparseGPT use it: one triangular factor, computed once."""

import torch
from torch import Tensor

from labs.contract import LabError


def dead_inputs(hessian: Tensor) -> Tensor:
    """Inputs that were zero for every token, so that nothing is known of their weights: [in]."""
    dead: Tensor = hessian.diagonal() == 0
    return dead


def inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """U with H⁻¹ = Uᵀ U, upper triangular (Frantar et al. 2022, arXiv:2210.17323, section 3.3, step 3).

    Row j of U, divided by its diagonal, says how inputs behind j make up for a change of j once
    the inputs before j are fixed: the rows of H⁻¹ that elimination would give one after another.

    Args:
        hessian: H, [in, in], float32; left as it is. Dead inputs count as independent.
        damping: λ / mean(diag H); λ is added to the diagonal.

    Raises:
        LabError: If H cannot be inverted with so little damping.
    """
    damped = hessian.clone()
    dead = dead_inputs(hessian)
    damped.diagonal().masked_fill_(dead, 1.0)
    damped.diagonal().add_(damping * damped.diagonal().mean())
    lower, failed = torch.linalg.cholesky_ex(damped)
    if not failed:
        inverse = torch.cholesky_inverse(lower)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(inverse, upper=True)
    if failed:
        raise LabError(
            "The Hessian of a matrix cannot be inverted with a damping of {damping}: there are fewer independent calibration tokens than inputs. Raise the damping, or the calibration samples.",
            parameter="damping",
            damping=damping,
        )
    return factor
