"""The stages of the quantization lab."""

from labs.compression.quantization.stages.deploy import deploy
from labs.compression.quantization.stages.inference import inference
from labs.compression.quantization.stages.quantize import quantize
from labs.compression.quantization.stages.setup import setup

__all__ = ["deploy", "inference", "quantize", "setup"]
