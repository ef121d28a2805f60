"""P-Tuning in plain torch: a prompt of free vectors that a small network writes.

        E (T × d) ── encoder ── P (T × d) ──┐
                                            ├── [P ; X] ── frozen model
        tokens ── embeddings ── X (n × d) ──┘

The lab trains with peft, whose prompt encoder is this one; a test proves it.
"""

import torch
from torch import Tensor, nn

from labs.common.soft_prompts import prepended
from labs.peft.p_tuning.counting import Encoder, count_parameters

__all__ = ["PromptEncoder", "count_parameters", "distance", "fold", "prepended"]


class PromptEncoder(nn.Module):
    """P = MLP(E), or P = MLP(BiLSTM(E)), with E trained as well.

    Liu et al. 2021, arXiv:2103.10385, section "Optimization" (version 1) and "Prompt Encoder"
    (version 3): p_i = MLP([forward LSTM(e_0 … e_i) : backward LSTM(e_i … e_T)]). The MLP alone
    treats each vector by itself; the LSTM lets neighbours shape each other.

    Args:
        virtual_tokens: T, the number of vectors.
        hidden: d, the width of the model's embeddings.
        width: w, inside the encoder; of each direction for the LSTM.
        kind: "mlp" or "lstm".
        layers: Of the LSTM. The MLP has three maps, as in peft.
    """

    def __init__(
        self, virtual_tokens: int, hidden: int, width: int, kind: Encoder = "mlp", layers: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(virtual_tokens, hidden)
        self.lstm_head = _lstm(hidden, width, layers) if kind == "lstm" else None
        self.mlp_head = _after_lstm(hidden, width) if kind == "lstm" else _mlp(hidden, width)

    def forward(self) -> Tensor:
        """The prompt P, (T, d); the same for every row of a batch."""
        vectors: Tensor = self.embedding.weight
        if self.lstm_head is not None:
            vectors = self.lstm_head(vectors)[0]
        prompt: Tensor = self.mlp_head(vectors)
        return prompt


def _mlp(hidden: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(hidden, width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU()),
        nn.Linear(width, hidden),
    )


def _lstm(hidden: int, width: int, layers: int) -> nn.LSTM:
    return nn.LSTM(hidden, width, layers, bidirectional=True, batch_first=True)


def _after_lstm(hidden: int, width: int) -> nn.Sequential:
    both = 2 * width
    return nn.Sequential(nn.Linear(both, both), nn.ReLU(), nn.Linear(both, hidden))


@torch.no_grad()
def fold(encoder: PromptEncoder) -> Tensor:
    """P as plain numbers, (T, d): the encoder takes no input, so after training it is a table."""
    prompt: Tensor = encoder()
    return prompt.detach().clone()


def distance(now: Tensor, start: Tensor) -> Tensor:
    """How far each vector has moved: ‖p_i - p_i at the start‖₂, (T, d) to (T,)."""
    moved: Tensor = torch.linalg.vector_norm(now - start, dim=-1)
    return moved
