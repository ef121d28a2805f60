"""What a bundled model reaches: exact answers under greedy generation, and perplexity."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from labs.bundled.corpus import Row, messages_of
from labs.bundled.pretrain import TEXT_LENGTH


@torch.no_grad()
def answers(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[list[dict[str, str]]],
    batch_size: int = 64,
    max_new_tokens: int = 40,
) -> list[str]:
    """The greedy answer to each prompt, without special tokens, stripped."""
    generator: Any = model  # the declared type of `generate` fits no model
    texts: list[str] = []
    for start in range(0, len(prompts), batch_size):
        rendered = [
            tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            for prompt in prompts[start : start + batch_size]
        ]
        batch = tokenizer(rendered, return_tensors="pt", padding=True, padding_side="left")
        output = generator.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
        texts += tokenizer.batch_decode(
            output[:, batch.input_ids.shape[1] :], skip_special_tokens=True
        )
    return [text.strip() for text in texts]


def accuracy_by_task(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Row]
) -> dict[str, float]:
    """Share of rows answered exactly, for each task and under "all"."""
    given = answers(model, tokenizer, [messages_of(row.instruction, row.text) for row in rows])
    hits: dict[str, list[bool]] = defaultdict(list)
    for row, answer in zip(rows, given, strict=True):
        hits[row.task].append(answer == row.answer)
        hits["all"].append(answer == row.answer)
    return {task: sum(list_) / len(list_) for task, list_ in sorted(hits.items())}


@torch.no_grad()
def perplexity(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> float:
    """Perplexity on packed blocks of 256 tokens without overlap; the rest is dropped."""
    stream = [
        token for text in texts for token in (*tokenizer(text).input_ids, tokenizer.pad_token_id)
    ]
    blocks = torch.tensor(stream[: len(stream) // TEXT_LENGTH * TEXT_LENGTH]).view(-1, TEXT_LENGTH)
    losses = []
    for block in blocks.split(8):
        losses.append(model(input_ids=block, labels=block).loss.item())
    return math.exp(sum(losses) / len(losses))
