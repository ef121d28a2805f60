"""SmoothQuant: outliers of the inputs moved into the weights (Xiao et al. 2022, arXiv:2211.10438).

    s_j = max|X_j|^α / max|W_j|^(1−α)        (equation 4)

Divided by s, inputs of all channels are of a size and fit 8 bits; the weights, multiplied by s, still
do. Only inputs that come from a norm are smoothed, as in the paper.
"""

import torch
from torch import Tensor

SMALLEST = 1e-5


def smoothing_scales(largest: Tensor, weights: list[Tensor], alpha: float) -> Tensor:
    """s, [in].

    Args:
        largest: max|X_j| over the calibration tokens, [in].
        weights: All matrices that read these inputs, each [out, in].
        alpha: 0 leaves the inputs as hard as they are, 1 moves all of it into the weights.
    """
    columns = torch.stack([weight.float().abs().amax(0) for weight in weights]).amax(0)
    scales = largest.clamp(min=SMALLEST) ** alpha / columns.clamp(min=SMALLEST) ** (1 - alpha)
    # Inputs that were always zero, or that nobody reads, need no scale.
    unused = (largest == 0) | (columns == 0)
    return scales.clamp(min=SMALLEST).masked_fill(unused, 1.0)
