"""The running text of a run: what layers are observed with, and what perplexity is measured on."""

from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from labs.compression.common.calibration import calibration_blocks, token_stream
from labs.compression.common.params import CompressionParams
from labs.compression.common.perplexity import require_text
from labs.contract import LabContext
from labs.datasets import read_splits


def running_text(run: LabContext) -> Path:
    """The dataset that the parameter `calibration` names, or the run's own."""
    return run.resource("calibration") or run.dataset


def calibration(
    run: LabContext, params: CompressionParams, tokenizer: PreTrainedTokenizerBase
) -> Tensor:
    """Blocks of the training split, at places that the run's seed chooses: [samples, length].

    Raises:
        BadData: If the text is shorter than one block.
    """
    splits = read_splits(running_text(run))
    samples, length = params.calibration_samples, params.calibration_length
    return calibration_blocks(tokenizer, splits.train, samples, length, run.seed)


def evaluation_stream(
    run: LabContext, params: CompressionParams, tokenizer: PreTrainedTokenizerBase
) -> Tensor:
    """The beginning of the packed test split, the same for every seed: [tokens].

    Raises:
        BadData: If there is nothing in it to predict: said before a model is compressed.
    """
    splits = read_splits(running_text(run))
    stream = token_stream(tokenizer, splits.test)[: params.evaluation_tokens]
    require_text(stream)
    return stream
