"""The rows of a distillation, and the teacher's soft labels for them, on disk and in memory."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from labs.common.batches import IGNORED, Batch, collate, pad_left
from labs.common.data import Prepared
from labs.common.formatting import Encoded
from labs.common.loading import end_ids, pad_id
from labs.common.loss import autocast, text_logits
from labs.compression.distillation.method import SoftLabels, soft_labels
from labs.compression.distillation.spec import DistillationParams

# Rows that the teacher reads or answers at once.
AT_ONCE = 32
Tick = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to learn from: first those with a true answer, then those that the teacher answered."""

    rows: tuple[Encoded, ...]
    labelled: int
    soft: SoftLabels | None = None

    @property
    def starts(self) -> list[int]:
        """Where the targets of each row begin in `soft`."""
        return [0, *accumulate(row.targets for row in self.rows)]


def deal(data: Prepared, params: DistillationParams, seed: int) -> tuple[list[Encoded], list[Encoded]]:  # fmt: skip
    """Rows whose answer may be used, and rows of which only the prompt may; both drawn by the seed.

    Rows without a prompt have nothing that a teacher could answer.
    """
    rows = list(data.train)
    random.Random(seed).shuffle(rows)
    labelled = rows[: params.labelled_rows or len(rows)]
    rest = [row for row in rows[len(labelled) :] if row.prompt_length > 0]
    return labelled, rest[: params.unlabelled_rows]


@torch.inference_mode()
def answered(
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Encoded],
    longest: int,
    params: DistillationParams,
    device: str,
    tick: Tick,
) -> list[Encoded]:
    """Prompts with the teacher's greedy answers (sequence-level distillation, Kim & Rush 2016).

    The true answers of these rows are not looked at. An answer that the teacher does not end
    within `longest` tokens, or that does not fit into the maximum length, is cut there.
    """
    ends = end_ids(teacher, tokenizer)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=longest,
        eos_token_id=ends,
        pad_token_id=pad_id(tokenizer),
    )
    found: dict[int, Encoded] = {}
    # Rows of like length stand together; padding would cost more than half of the time.
    order = sorted(range(len(rows)), key=lambda i: rows[i].prompt_length)
    for start in range(0, len(order), AT_ONCE):
        chosen = order[start : start + AT_ONCE]
        prompts = [rows[i].ids[: rows[i].prompt_length] for i in chosen]
        batch = pad_left(prompts, pad_id(tokenizer), device)
        with autocast(params.precision, device):
            ids = teacher.generate(**batch, generation_config=config)  # type: ignore[operator]  # untyped in transformers
        for i, prompt, said in zip(
            chosen, prompts, ids[:, batch["input_ids"].shape[1] :].tolist(), strict=True
        ):
            new = _until_the_end(said, ends)
            found[i] = Encoded((*prompt, *new)[: params.max_length], len(prompt))
        tick(min(start + AT_ONCE, len(order)), len(order))
    kept = (found[i] for i in range(len(rows)))
    return [row for row in kept if row.targets > 0]


def _until_the_end(said: Sequence[int], ends: Sequence[int]) -> Sequence[int]:
    for place, token in enumerate(said):
        if token in ends:
            return said[: place + 1]
    return said


def target_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The logits that predict the target tokens of a batch, (N, V), row by row."""
    ids = batch["input_ids"]
    found = model(input_ids=ids, attention_mask=batch["attention_mask"], use_cache=False).logits
    return text_logits(found, ids)[:, :-1][targets_of(batch)]


def targets_of(batch: Batch) -> Tensor:
    """Which positions predict a target token, (B, T - 1) bool."""
    return batch["labels"][:, 1:] != IGNORED


@torch.inference_mode()
def speak(
    teacher: PreTrainedModel,
    rows: Sequence[Encoded],
    pad: int,
    params: DistillationParams,
    device: str,
    tick: Tick,
) -> SoftLabels:
    """The teacher's soft labels of all target tokens, row by row, on the CPU."""
    parts: dict[int, SoftLabels] = {}
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    for start in range(0, len(order), AT_ONCE):
        chosen = order[start : start + AT_ONCE]
        batch = collate([rows[i] for i in chosen], pad, device)
        with autocast(params.precision, device):
            logits = target_logits(teacher, batch)
        found = soft_labels(logits, params.temperature, params.top_k).to("cpu")
        places = torch.arange(len(found.log_probs)).split([rows[i].targets for i in chosen])
        parts |= {i: found[place] for i, place in zip(chosen, places, strict=True)}
        tick(min(start + AT_ONCE, len(order)), len(order))
    ordered = [parts[i] for i in range(len(rows))]
    return SoftLabels(
        torch.cat([each.log_probs for each in ordered]),
        _joined([each.tokens for each in ordered]),
        _joined([each.rest for each in ordered]),
    )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


def save_lesson(lesson: Lesson, folder: Path) -> None:
    """Write rows and soft labels as one safetensors file."""
    tensors = {
        "ids": torch.tensor([token for row in lesson.rows for token in row.ids], dtype=torch.int32),
        "lengths": torch.tensor([len(row.ids) for row in lesson.rows]),
        "prompts": torch.tensor([row.prompt_length for row in lesson.rows]),
        "labelled": torch.tensor([lesson.labelled]),
    }
    if lesson.soft is not None:
        tensors["log_probs"] = lesson.soft.log_probs.contiguous()
        if lesson.soft.tokens is not None and lesson.soft.rest is not None:
            tensors["tokens"] = lesson.soft.tokens.to(torch.int32)
            tensors["rest"] = lesson.soft.rest
    save_file(tensors, folder / "lesson.safetensors")


def load_lesson(folder: Path) -> Lesson:
    """Read back what `save_lesson` wrote."""
    found = load_file(folder / "lesson.safetensors")
    lengths = found["lengths"].tolist()
    pieces = found["ids"].split(lengths)
    prompts = found["prompts"].tolist()
    rows = tuple(
        Encoded(tuple(ids.tolist()), prompt) for ids, prompt in zip(pieces, prompts, strict=True)
    )
    soft = None
    if "log_probs" in found:
        tokens = found["tokens"].long() if "tokens" in found else None
        soft = SoftLabels(found["log_probs"], tokens, found.get("rest"))
    return Lesson(rows, int(found["labelled"]), soft)
