"""Prefix tuning in plain torch: a small network writes keys and values for every layer.

        P' (T × k) ── up ── tanh ── out ── P (T × L·2·k) ──┬── keys of layer 1 … L
                                                           └── values of layer 1 … L

The network is only a way to train P. The lab trains with peft, whose prefix encoder is this one;
a test proves it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEYS_AND_VALUES = 2


class PrefixNetwork(nn.Module):
    """P = MLP(P') (Li & Liang 2021, arXiv:2101.00190, section 4.3), with P' trained as well.

    Args:
        virtual_tokens: T, the length of the prefix.
        layers: L.
        width: k, the width of a layer's keys: kv_heads · head_dim.
        prefix_width: w, the width of the hidden layer of the network.
    """

    def __init__(self, virtual_tokens: int, layers: int, width: int, prefix_width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(virtual_tokens, width)  # P'
        self.transform = nn.Sequential(
            nn.Linear(width, prefix_width),
            nn.Tanh(),
            nn.Linear(prefix_width, layers * KEYS_AND_VALUES * width),
        )

    def forward(self) -> Tensor:
        """P, (T, L·2·k); the same for every row of a batch."""
        prefix: Tensor = self.transform(self.embedding.weight)
        return prefix


@torch.no_grad()
def fold(network: PrefixNetwork) -> Tensor:
    """P as plain numbers: the network reads no input, so after training it is a table."""
    prefix: Tensor = network()
    return prefix.detach().clone()


def by_layer(prefix: Tensor, layers: int, kv_heads: int) -> list[tuple[Tensor, Tensor]]:
    """Cut P into keys and values of each layer (eq. 3: activations that are not computed).

    Args:
        prefix: P, (T, L·2·k), in the order layer, keys before values, head.
        layers: L.
        kv_heads: Heads that keep keys and values; fewer than heads with grouped queries.

    Returns:
        P_k and P_v of each layer, both (kv_heads, T, head_dim).
    """
    cut = prefix.unflatten(1, (layers, KEYS_AND_VALUES, kv_heads, -1)).permute(1, 2, 3, 0, 4)
    return [(keys, values) for keys, values in cut]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v of one position that sees all of k.

    Args:
        q: (..., 1, d).
        k: (..., n, d).
        v: (..., n, d).

    Returns:
        (..., 1, d).
    """
    return F.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) @ v


def attend_with_prefix(
    q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor
) -> Tensor:
    """(1 - λ) · attention to the text + λ · attention to the prefix.

    He et al. 2022, arXiv:2110.04366, eq. 7: the same as attention to [P_k ; K] and [P_v ; V].

    Args:
        q: (..., 1, d).
        k: Keys of the text, (..., n, d).
        v: Values of the text, (..., n, d).
        prefix_k: P_k, (..., T, d).
        prefix_v: P_v, (..., T, d).
    """
    gate = share(q, k, prefix_k)
    return (1 - gate) * attend(q, k, v) + gate * attend(q, prefix_k, prefix_v)


def share(q: Tensor, k: Tensor, prefix_k: Tensor) -> Tensor:
    """λ, (..., 1, 1): the part of its attention that a position gives to the prefix (eq. 8).

    It is above zero whatever the prefix is, so no start leaves the model as it was.
    """
    to_prefix, to_text = (
        torch.logsumexp(q @ keys.mT / q.shape[-1] ** 0.5, dim=-1, keepdim=True)
        for keys in (prefix_k, k)
    )
    return torch.sigmoid(to_prefix - to_text)


def count_stored(virtual_tokens: int, layers: int, width: int) -> int:
    """Numbers of P: T · L · 2 · k. Without the network these are the trained ones."""
    return virtual_tokens * layers * KEYS_AND_VALUES * width


def count_with_network(virtual_tokens: int, layers: int, width: int, prefix_width: int) -> int:
    """Numbers trained with the network: P' and two maps with their biases."""
    outputs = layers * KEYS_AND_VALUES * width
    return virtual_tokens * width + (width + 1) * prefix_width + (prefix_width + 1) * outputs
