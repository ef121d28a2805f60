"""LLM.int8 (2208.07339) and NF4 (2305.14314, section 3), carried out by bitsandbytes.

The labs load and save such models through transformers. What stands here says what bitsandbytes
will have made of a matrix, so that errors can be shown layer by layer like those of other methods.
"""

from typing import Any

import torch
from torch import Tensor

from labs.common.quantization import show_bitsandbytes
from labs.compression.quantization.grid import Grid, Rounded


def nf4_weight(weight: Tensor, double: bool) -> Tensor:
    """What NF4 makes of a matrix: [out, in], in its format.

    Blocks of 64 weights are divided by their largest and rounded to the 16 quantiles of a normal
    distribution; with `double`, the scales are quantized to 8 bits as well.
    """
    show_bitsandbytes()
    import bitsandbytes.functional

    functional: Any = bitsandbytes.functional  # untyped
    packed, state = functional.quantize_4bit(
        weight.contiguous(), blocksize=64, compress_statistics=double, quant_type="nf4"
    )
    made: Tensor = functional.dequantize_4bit(packed, state)
    return made.view(weight.shape)


def int8_rounded(weight: Tensor) -> Rounded:
    """What LLM.int8 makes of a matrix: s = max|w| / 127 for each row, from weights of 16 bits."""
    half = weight.half().float()
    largest = half.abs().amax(1, keepdim=True)
    largest = torch.where(largest == 0, 127.0, largest)
    integers = torch.round(half * (127 / largest)).to(torch.int8)
    return Rounded(integers, Grid(8, largest / 127))
