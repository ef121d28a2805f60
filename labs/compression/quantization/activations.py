"""Inputs of a matrix as integers, one scale a token, found while the model runs."""

import torch
from torch import Tensor

# LLM.int8 keeps inputs that reach this size out of the integers (2208.07339, section 3.2).
OUTLIER = 6.0


def round_tokens(inputs: Tensor) -> Tensor:
    """Every token on its own symmetric grid of 8 bits, x̂ = s · round(x / s), s = 2 max|x| / 255.

    The dynamic quantization of activations that SmoothQuant runs with (2211.10438, "O1"), with the
    scale that compressed-tensors takes: what a loaded checkpoint computes.

    Args:
        inputs: [..., in].
    """
    scale = inputs.abs().amax(-1, keepdim=True) / 127.5
    scale = torch.where(scale == 0, torch.finfo(scale.dtype).eps, scale)
    return torch.round((inputs / scale).clamp(-128, 127)) * scale


def round_but_outliers(inputs: Tensor, outlier: float = OUTLIER) -> Tensor:
    """LLM.int8: integers of 8 bits for each token, but not for inputs with outliers.

    x̂ = s · round(x / s) with s = max|x| / 127 over what is no outlier; an input that reaches `outlier`
    in any token is left as it is (Dettmers et al. 2022, 2208.07339, equation 8). As bitsandbytes
    does it, from numbers of 16 bits.

    Args:
        inputs: [..., in].
        outlier: Size from which a number is an outlier.
    """
    half = inputs.half().float()
    outliers = half.abs() >= outlier
    largest = half.masked_fill(outliers, 0).abs().amax(-1, keepdim=True)
    largest = torch.where(largest == 0, 127.0, largest)
    rounded = torch.round(half * (127 / largest)) * (largest / 127)
    wild = outliers.flatten(0, -2).any(0)
    return torch.where(wild, inputs, rounded.to(inputs.dtype))
