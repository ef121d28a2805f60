"""Text for calibration and perplexity: packed into blocks of one length, without padding.

As in GPTQ (Frantar et al. 2022), SparseGPT and Wanda, rows are joined by the end token and cut into
blocks. A padded row would put the statistics of a token that stands for nothing into the weights.
"""

import random
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from labs.common.formatting import encode_all
from labs.contract import BadData
from labs.formats import Example

# No row is cut while it is encoded: blocks are cut from the joined text.
WHOLE = 1 << 30


def token_stream(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> Tensor:
    """All rows as a model reads them, each with its end token, one behind the other: [tokens]."""
    rows = encode_all(tokenizer, examples, WHOLE)
    return torch.tensor(list(chain.from_iterable(row.ids for row in rows)), dtype=torch.long)


def calibration_blocks(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    samples: int,
    length: int,
    seed: int,
) -> Tensor:
    """Blocks of tokens at random places of the joined text: [samples, length].

    Args:
        tokenizer: Of the model that is compressed.
        examples: Rows to join, in the order they have.
        samples: How many blocks; fewer where the text has fewer that do not overlap.
        length: Tokens of a block.
        seed: Which places.

    Raises:
        BadData: If the text is shorter than one block.
    """
    blocks = consecutive_blocks(token_stream(tokenizer, examples), length)
    chosen = random.Random(seed).sample(range(len(blocks)), min(samples, len(blocks)))
    return blocks[sorted(chosen)]


def consecutive_blocks(stream: Tensor, length: int) -> Tensor:
    """The stream cut into whole blocks, its rest left out: [blocks, length].

    Raises:
        BadData: If the stream is shorter than one block.
    """
    count = len(stream) // length
    if count == 0:
        raise BadData(
            "The calibration text has {tokens} tokens, fewer than one block of {length}. Choose a shorter length or more text.",
            parameter="calibration_length",
            tokens=len(stream),
            length=length,
        )
    return stream[: count * length].view(count, length)
