"""How a model is quantized: method, bits, and how many weights share a scale. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["rtn", "gptq", "awq", "smoothquant", "int8", "nf4"]
Stored = Literal["pack-quantized", "int-quantized", "bitsandbytes"]

# The methods that fix their number of bits.
FIXED_BITS = {"smoothquant": 8, "int8": 8, "nf4": 4}
BITS = (2, 3, 4, 8)


@dataclass(frozen=True, slots=True)
class Scheme:
    """A method of quantization with everything that decides what it computes.

    Attributes:
        method: See the modules of the same names; int8 and nf4 are carried out by bitsandbytes.
        bits: Of a weight.
        group_size: Neighbouring inputs that share a scale; None gives each output row one scale.
        symmetric: The grid lies evenly around zero, without a zero point.
        activation_order: GPTQ quantizes the columns with the largest inputs first.
        damping: Added to GPTQ's Hessian, as a share of its mean diagonal.
        smoothing: SmoothQuant's alpha: how much of the outliers moves into the weights.
        clipping: AWQ also searches how far the largest weights may be cut.
        double_quantization: NF4 quantizes its scales as well.
    """

    method: Method
    bits: int = 4
    group_size: int | None = 128
    symmetric: bool = True
    activation_order: bool = True
    damping: float = 0.01
    smoothing: float = 0.5
    clipping: bool = True
    double_quantization: bool = False

    def __post_init__(self) -> None:
        if self.bits != FIXED_BITS.get(self.method, self.bits) or self.bits not in BITS:
            raise ValueError(f"{self.method} does not quantize to {self.bits} bits")
        if self.method == "smoothquant" and (self.group_size or not self.symmetric):
            raise ValueError("smoothquant has one scale per row and no zero points")

    @property
    def stored(self) -> Stored:
        """The layout of the checkpoint: two of compressed-tensors, or that of bitsandbytes."""
        if self.method in ("int8", "nf4"):
            return "bitsandbytes"
        return "int-quantized" if self.method == "smoothquant" else "pack-quantized"

    @property
    def quantizes_activations(self) -> bool:
        """Whether inputs of the matrices become integers too."""
        return self.method in ("smoothquant", "int8")

    @property
    def calibrated(self) -> bool:
        """Whether the weights depend on calibration text; the others are only measured with it."""
        return self.method in ("gptq", "awq", "smoothquant")

    @property
    def folds(self) -> bool:
        """Whether scales of inputs are folded into what stands before a matrix."""
        return self.method in ("awq", "smoothquant")
