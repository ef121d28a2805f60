"""Bottleneck adapters in plain torch, as the paper draws them.

        x ──┬── attention or feed-forward (frozen) ── h ──┬───────────────────────── + ── + ──
            │                                             └── down ── f ── up ───────┘    │
            └─────────────────────────────────────────────────────────────────────────────┘

The lab puts these modules into the model itself: peft has none of this kind.
"""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "gelu", "silu"]
Placement = Literal["both", "feed_forward"]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
}
# "both" as Houlsby et al. 2019, arXiv:1902.00751, figure 2; one adapter in each layer, after the
# feed-forward, as Pfeiffer et al. 2020, arXiv:2005.00247, appendix A.2.
PER_LAYER: dict[Placement, int] = {"both": 2, "feed_forward": 1}


def bottleneck(hidden: int, reduction_factor: int) -> int:
    """m = d / factor, rounded down, and never less than one."""
    return max(1, hidden // reduction_factor)


class Adapter(nn.Module):
    """h + W_up f(W_down h + b_down) + b_up (Houlsby et al. 2019, arXiv:1902.00751, section 2.1).

    W_up and b_up start at zero, so the module passes on what it gets, to the bit. The paper
    draws both matrices close to zero, with a standard deviation of 0.01 (section 3.6). As long
    as W_up is zero, W_down gets no gradient: it starts to learn with the second step.

    Args:
        hidden: d, the width of the model.
        width: m, see `bottleneck`.
        activation: f.
    """

    def __init__(self, hidden: int, width: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.down = nn.Linear(hidden, width)  # W_down: (m, d)
        self.up = nn.Linear(width, hidden)  # W_up: (d, m)
        self.activation = ACTIVATIONS[activation]
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Tensor) -> Tensor:
        """The output of a sublayer, (..., d), and what is added to it."""
        return h + self.change(h)

    def change(self, h: Tensor) -> Tensor:
        """Δh, (..., d): at most m directions and a constant. Not linear, so no weight holds it.

        Computed in the adapter's own format and given in that of h: in a 16-bit model it
        stays in float32.
        """
        added: Tensor = self.up(self.activation(self.down(h.to(self.down.weight.dtype))))
        return added.to(h.dtype)


def sublayer(x: Tensor, frozen: Callable[[Tensor], Tensor], adapter: Adapter) -> Tensor:
    """x + adapter(frozen(x)): before the residual addition (section 2.1, figure 2).

    Args:
        x: What enters the sublayer, (..., d).
        frozen: Attention or feed-forward with its norm, (..., d) to (..., d).
        adapter: Its own; each sublayer has another.
    """
    adapted: Tensor = adapter(frozen(x))
    return x + adapted


def count_parameters(
    layers: int, hidden: int, reduction_factor: int, placement: Placement = "both"
) -> int:
    """Trained numbers: 2md + m + d for each adapter (section 2.1), one or two in each layer.

    The paper trains the norms of the layers as well; this lab leaves them frozen.
    """
    width = bottleneck(hidden, reduction_factor)
    return layers * PER_LAYER[placement] * (2 * width * hidden + width + hidden)
