"""Rows in an order that depends on seed and position alone, so any step can be rebuilt."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from labs.common.formatting import Encoded

IGNORED = -100
Batch = dict[str, Tensor]


def rows_of_step(rows: int, per_step: int, step: int, seed: int) -> list[int]:
    """Indices of the rows that a step (counted from 1) sees.

    Every epoch is a new permutation, seeded by seed and epoch; a step may reach over the
    end of one epoch into the next. No position has to be stored to resume.
    """
    indices: list[int] = []
    position = (step - 1) * per_step
    while len(indices) < per_step:
        epoch, offset = divmod(position + len(indices), rows)
        order = _permutation(rows, epoch, seed)
        indices += order[offset : offset + per_step - len(indices)]
    return indices


@lru_cache(maxsize=2)
def _permutation(rows: int, epoch: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return tuple(torch.randperm(rows, generator=generator).tolist())


def collate(rows: Sequence[Encoded], pad: int, device: str) -> Batch:
    """Pad on the right. Padding is hidden by the mask and by `IGNORED`, never by its token id.

    Returns:
        input_ids, attention_mask and labels, each (B, T) int64; labels hold `IGNORED` at
        prompt and padding.
    """
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), pad)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), IGNORED)
    for i, row in enumerate(rows):
        end = len(row.ids)
        ids[i, :end] = torch.tensor(row.ids)
        mask[i, :end] = 1
        labels[i, row.prompt_length : end] = ids[i, row.prompt_length : end]
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: tensor.to(device) for name, tensor in batch.items()}


def pad_left(prompts: Sequence[Sequence[int]], pad: int, device: str) -> Batch:
    """Pad on the left, so that every row's answer continues at its end."""
    length = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), length), pad)
    mask = torch.zeros(len(prompts), length, dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, length - len(prompt) :] = torch.tensor(prompt)
        mask[i, length - len(prompt) :] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
