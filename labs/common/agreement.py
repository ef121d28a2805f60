"""Whether two models say the same: logits of a few beginnings, and how far apart they lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labs.common.data import Prepared
from labs.common.loss import text_logits
from labs.contract import LabError

COMPARED_PROMPTS = 8
# Of each compared prompt: all logits of long rows would take more memory than the training.
COMPARED_TOKENS = 32
# Largest |Δlogit| that rounding explains, relative to the largest logit.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}

Prompts = Sequence[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the logits of two models lie apart, and how far rounding lets them."""

    difference: float
    tolerance: float

    def require(self, told: str) -> None:
        """Raise `LabError` with a sentence that has `{difference}` and `{tolerance}`, if they differ."""
        if not self.difference <= self.tolerance:
            raise LabError(
                told, difference=f"{self.difference:.3g}", tolerance=f"{self.tolerance:.3g}"
            )


def compared_prompts(data: Prepared, count: int = COMPARED_PROMPTS) -> Prompts:
    """Rows of the test split, which nothing was chosen by."""
    return [row.ids for row in data.test[:count]]


@torch.inference_mode()
def logits(model: nn.Module, prompts: Prompts, device: str) -> list[Tensor]:
    """Logits of the beginnings of a few prompts, each (T, V) float32 on the CPU."""
    model.eval()
    beginnings = [torch.tensor([prompt[:COMPARED_TOKENS]], device=device) for prompt in prompts]
    found = (text_logits(model(input_ids=ids).logits, ids)[0] for ids in beginnings)
    return [each.float().cpu() for each in found]


def largest_difference(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """max |Δlogit| over all positions of all prompts."""
    return max(float((x - y).abs().max()) for x, y in zip(first, second, strict=True))


def agree(first: Sequence[Tensor], second: Sequence[Tensor], dtype: torch.dtype) -> Agreement:
    """Compare logits computed in a format; the tolerance grows with the largest of them."""
    largest = max(1.0, max(float(x.abs().max()) for x in first))
    return Agreement(largest_difference(first, second), TOLERANCES[dtype] * largest)
