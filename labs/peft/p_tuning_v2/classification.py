"""Labels in place of words: their rows, the head that scores them, the answers it gives.

A row is its prompt and one target: the number of its label. The head stands where the language
model's output layer stood, so the loss of answers is the cross-entropy over the labels at the
last token of the prompt.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.common.batches import pad_left
from labs.common.formatting import Encoded, encode_prompts
from labs.common.loading import CausalModel
from labs.common.memory import synchronize
from labs.common.refusals import refuse_unlabelled
from labs.contract import BadData
from labs.datasets import read_splits
from labs.formats import Example
from labs.splits import label_names

MOST_LABELS = 1000
# Of a fresh head, as transformers draws those of its classifiers.
SPREAD = 0.02


class TaskHead(nn.Linear):
    """W_c, (C, d), without a bias (Liu et al. 2021, arXiv:2110.07602, section 3.3).

    Kept in float32 whatever the base is computed in: its steps would round away in 16 bits.
    """

    def __init__(self, hidden: int, labels: int) -> None:
        super().__init__(hidden, labels, bias=False, dtype=torch.float32)
        nn.init.normal_(self.weight, std=SPREAD)

    def forward(self, states: Tensor) -> Tensor:
        """Scores of the labels at every position, (B, T, d) to (B, T, C)."""
        return super().forward(states.to(self.weight.dtype))


def with_head(base: PreTrainedModel, labels: int) -> PreTrainedModel:
    """The base with a fresh head in place of its output layer, unless it has one already."""
    before: Any = base.get_output_embeddings()
    if not isinstance(before, TaskHead):
        head = TaskHead(before.weight.shape[1], labels)
        base.set_output_embeddings(head.to(base.device))
    return base


@lru_cache(maxsize=1)
def labels_of(dataset: Path) -> tuple[str, ...]:
    """The labels of a dataset, in the order it names them, else of the alphabet.

    Raises:
        LabError: If its rows carry no labels.
        BadData: If there are more than a head is made for.
    """
    splits = read_splits(dataset)
    refused = refuse_unlabelled(splits.format)
    if refused is not None:
        raise refused
    rows = (*splits.train, *splits.validation, *splits.test)
    found = {example.answer for example in rows}
    if len(found) > MOST_LABELS:
        raise BadData(
            "“{name}” has {count} different labels; a classification head takes at most {limit}.",
            name=dataset.name,
            count=len(found),
            limit=MOST_LABELS,
        )
    named = label_names(dataset)
    return named if found <= set(named) else tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class LabelRows:
    """Encodes examples for a head: the prompt, then the number of the label as the only target."""

    labels: tuple[str, ...]

    def __call__(
        self, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], max_length: int
    ) -> list[Encoded]:
        """Long prompts lose their beginning, so that the end, where the label is read, stays."""
        prompts = encode_prompts(tokenizer, [example.prompt for example in examples])
        return [
            Encoded(
                (*prompt[1 - max_length :], self.labels.index(example.answer)),
                min(len(prompt), max_length - 1),
                truncated=len(prompt) >= max_length,
            )
            for example, prompt in zip(examples, prompts, strict=True)
        ]


def scores(model: CausalModel, prompts: Sequence[Sequence[int]], pad: int, device: str) -> Tensor:
    """Scores of the labels at the last token of each prompt, (B, C)."""
    batch = pad_left(prompts, pad, device)
    found: Tensor = model(**batch, use_cache=False).logits[:, -1]
    return found


@torch.inference_mode()
def named(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[str],
    pad: int,
    device: str,
    at_once: int,
) -> list[str]:
    """The best label of each prompt."""
    model.eval()
    best: list[int] = []
    for start in range(0, len(prompts), at_once):
        found = scores(model, prompts[start : start + at_once], pad, device)
        best += found.argmax(dim=-1).tolist()
    return [labels[index] for index in best]


@torch.inference_mode()
def time_label(model: CausalModel, ids: Tensor, device: str) -> tuple[float, float]:
    """Seconds that one pass over a prompt takes: its label is there at once, and whole."""
    synchronize(device)
    started = time.perf_counter()
    model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    synchronize(device)
    seconds = time.perf_counter() - started
    return seconds, seconds
