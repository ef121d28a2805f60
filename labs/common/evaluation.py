"""Loss, perplexity and exact answers on rows that were not learned."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from labs.common.batches import collate
from labs.common.context import with_room
from labs.common.data import Prepared, Question
from labs.common.formatting import Encoded
from labs.common.generation import answers, same_answer
from labs.common.loading import CausalModel, pad_id
from labs.common.loss import answer_loss, autocast, count_targets
from labs.common.params import MOST_EVALUATED, SPARE_TOKENS, Reading

# Answers questions with a model and its tokenizer, on a device.
Asker = Callable[[CausalModel, PreTrainedTokenizerBase, Sequence[Question], str], list[str]]


def mean_loss(
    model: nn.Module,
    rows: Sequence[Encoded],
    pad: int,
    device: str,
    precision: str = "fp32",
    batch_size: int = MOST_EVALUATED,
) -> float:
    """Nats per target token over all rows: total loss by total tokens, not a mean of means."""
    model.eval()
    total, tokens = 0.0, 0
    # Rows of like length stand together; the sum does not depend on the order.
    ordered = sorted(rows, key=lambda row: len(row.ids))
    with torch.inference_mode(), autocast(precision, device):
        for start in range(0, len(ordered), batch_size):
            batch = collate(ordered[start : start + batch_size], pad, device)
            total += float(answer_loss(model, batch))
            tokens += count_targets(batch)
    return total / tokens


def held_out_loss(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Encoded],
    device: str,
    params: Reading,
) -> float:
    """`mean_loss`, as a run with these parameters computes it."""
    precision, at_once = params.precision, params.evaluated_at_once
    return mean_loss(model, rows, pad_id(tokenizer), device, precision, at_once)


def perplexity(loss: float) -> float:
    """e to the loss; infinite where that is too large for a float."""
    return math.inf if loss > 709 else math.exp(loss)


def ask(
    model: CausalModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    device: str,
    params: Reading,
) -> list[str]:
    """The model's answers, each cut a little beyond the longest expected one, or the longest row."""
    expected = max(question.answer_tokens for question in questions)
    wanted = min(expected, params.max_length) + SPARE_TOKENS
    asked = [question.prompt for question in questions]
    prompts, longest = with_room(model, params, asked, wanted)
    with autocast(params.precision, device):
        return answers(
            model, tokenizer, prompts, longest, device, batch_size=params.evaluated_at_once
        )


def accuracy(found: Sequence[str], questions: Sequence[Question]) -> float:
    """Share of answers that are exactly right."""
    pairs = zip(found, questions, strict=True)
    right = sum(same_answer(answer, question.example.answer) for answer, question in pairs)
    return right / len(questions)


def evaluate(
    model: CausalModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Prepared,
    device: str,
    params: Reading,
    answered: Asker | None = None,
) -> dict[str, float]:
    """What is logged at each evaluation, from the validation split."""
    loss = held_out_loss(model, tokenizer, data.validation, device, params)
    values = {"eval/loss": loss, "eval/perplexity": perplexity(loss)}
    if data.matches_answers and data.questions:
        answered = answered or partial(ask, params=params)
        found = answered(model, tokenizer, data.questions, device)
        values["eval/accuracy"] = accuracy(found, data.questions)
    return values


def commonest_answer_share(questions: Sequence[Question], train: Sequence[str]) -> float:
    """The trivial answer: always say what was said most often in training."""
    commonest, _ = Counter(train).most_common(1)[0]
    right = sum(same_answer(commonest, question.example.answer) for question in questions)
    return right / len(questions)
