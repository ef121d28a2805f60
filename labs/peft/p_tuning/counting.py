"""How many numbers P-tuning trains. Imports no torch."""

from typing import Literal

Encoder = Literal["mlp", "lstm"]
GATES = 4  # of an LSTM: input, forget, cell, output


def count_parameters(
    virtual_tokens: int, hidden: int, width: int, kind: Encoder = "mlp", layers: int = 2
) -> int:
    """Trained numbers: E and the encoder. Stored in the end are T · d, whatever the encoder."""
    vectors = virtual_tokens * hidden
    if kind == "mlp":
        return vectors + _map(hidden, width) + _map(width, width) + _map(width, hidden)
    recurrent = _recurrent(hidden, width) + (layers - 1) * _recurrent(2 * width, width)
    return vectors + recurrent + _map(2 * width, 2 * width) + _map(2 * width, hidden)


def _map(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _recurrent(inputs: int, width: int) -> int:
    """One layer of a bidirectional LSTM; torch keeps two bias vectors for each gate."""
    return 2 * GATES * (inputs * width + width * width + 2 * width)
