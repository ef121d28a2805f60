"""A dataset as training rows and held-out questions, the same for every run of it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from labs.common.formatting import Encoded, encode_all, encode_prompts
from labs.contract import BadData
from labs.datasets import Example, Splits, read_splits

# Rows to learn from, of examples, by a tokenizer, up to a length; the same object for every stage.
Encoder = Callable[[PreTrainedTokenizerBase, Sequence[Example], int], list[Encoded]]

# At every evaluation: enough to steer by, at the price of two or three training steps.
VALIDATION_ROWS = 64
VALIDATION_QUESTIONS = 32
# Once, at the end.
TEST_QUESTIONS = 128
# Longer answers are not matched word for word: accuracy would say nothing.
LONGEST_MATCHED_ANSWER = 48


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out prompt and the answer that counts as right."""

    example: Example
    prompt: tuple[int, ...]
    answer_tokens: int

    @property
    def text(self) -> str:
        """What a person reads as the question: the last thing said."""
        return self.example.prompt[-1].content if self.example.prompt else ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything a training lab reads from its dataset."""

    train: tuple[Encoded, ...]
    validation: tuple[Encoded, ...]
    questions: tuple[Question, ...]
    test: tuple[Encoded, ...]
    test_questions: tuple[Question, ...]
    splits: Splits

    @property
    def matches_answers(self) -> bool:
        """Whether answers are short enough to be compared word for word."""
        asked = (*self.questions, *self.test_questions)
        return bool(asked) and max(q.answer_tokens for q in asked) <= LONGEST_MATCHED_ANSWER

    @property
    def truncated_share(self) -> float:
        """How many of the training rows did not fit whole."""
        return sum(row.truncated for row in self.train) / len(self.train)


@lru_cache(maxsize=2)
def prepare(
    dataset: Path,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    encode: Encoder = encode_all,
) -> Prepared:
    """Read and encode a dataset; held-out rows are a fixed sample, whatever the run's seed.

    The stages of a run ask in turn and share one answer: a dataset never changes.
    """
    splits = read_splits(dataset)
    validation = _sample(splits.validation, VALIDATION_ROWS)
    test = _sample(splits.test, TEST_QUESTIONS)
    prepared = Prepared(
        train=_encoded(encode, tokenizer, splits.train, max_length),
        validation=_encoded(encode, tokenizer, validation, max_length),
        questions=_questions(tokenizer, validation[:VALIDATION_QUESTIONS], max_length),
        test=_encoded(encode, tokenizer, test, max_length),
        test_questions=_questions(tokenizer, test, max_length),
        splits=splits,
    )
    for name in ("train", "validation", "test"):
        if not getattr(prepared, name):
            raise BadData(
                "The {split} split of “{name}” has no rows to use.", split=name, name=dataset.name
            )
    return prepared


def _sample(examples: Sequence[Example], count: int) -> list[Example]:
    """A shuffled sample: the first rows of a sorted file may hold one class only."""
    return random.Random(0).sample(examples, min(count, len(examples)))


def _encoded(
    encode: Encoder,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    max_length: int,
) -> tuple[Encoded, ...]:
    rows = encode(tokenizer, examples, max_length)
    return tuple(row for row in rows if row.targets > 0)


def _questions(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], max_length: int
) -> tuple[Question, ...]:
    asked = [example for example in examples if example.prompt]
    prompts = encode_prompts(tokenizer, [example.prompt for example in asked])
    if not asked:
        return ()
    answers = tokenizer([example.answer for example in asked], add_special_tokens=False).input_ids
    return tuple(
        Question(example, prompt[-max_length:], len(answer))
        for example, prompt, answer in zip(asked, prompts, answers, strict=True)
    )
