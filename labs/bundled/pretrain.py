"""The training of the bundled models: running text and task rows, answers weighted most.

The loss of a task row is the cross-entropy of its answer plus a fifth of that of the whole row. Plain
language modelling of the same rows stalls near the entropy of the templates, because so little of it
pays for copying the right name or room.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from labs.bundled.corpus import SYSTEM, Row, messages_of, pretraining_rows
from labs.bundled.prose import documents
from labs.bundled.tokenizer import MAX_POSITIONS

IGNORED = -100
TEXT_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model; `seconds` is what its training may take on two CPU cores."""

    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    intermediate_size: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast a model is trained."""

    steps: int
    learning_rate: float
    rows_per_step: int = 64
    text_blocks_per_step: int = 8
    text_every: int = 5
    warmup_steps: int = 40
    weight_decay: float = 0.05
    whole_row_weight: float = 0.2


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and the facts of its training, for its card."""

    model: Qwen2ForCausalLM
    seconds: float
    tokens: int
    final_loss: float


def make_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    """A new Qwen2 model; biases stand on queries, keys and values as in every Qwen2."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        use_cache=True,
    )
    return Qwen2ForCausalLM(config)


def encode_row(tokenizer: PreTrainedTokenizerFast, row: Row, system: str) -> tuple[list[int], int]:
    """Token ids of prompt and answer, and how many of them are the prompt."""
    prompt = tokenizer.apply_chat_template(
        messages_of(row.instruction, row.text, system), tokenize=False, add_generation_prompt=True
    )
    prompt_ids = tokenizer(prompt).input_ids
    answer_ids = tokenizer(row.answer + tokenizer.eos_token).input_ids
    return prompt_ids + answer_ids, len(prompt_ids)


def row_batches(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, random: Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of (ids, weights); rows of like length stand together to save padding."""
    rows = pretraining_rows(random)
    while True:
        pool = [
            encode_row(tokenizer, row, SYSTEM if random.random() < 0.1 else "")
            for row in islice(rows, 8 * recipe.rows_per_step)
        ]
        pool.sort(key=lambda encoded: len(encoded[0]))
        batches = [
            pool[i : i + recipe.rows_per_step] for i in range(0, len(pool), recipe.rows_per_step)
        ]
        random.shuffle(batches)
        for batch in batches:
            yield _padded(batch, tokenizer.pad_token_id, recipe.whole_row_weight)


def _padded(
    batch: list[tuple[list[int], int]], pad: int, whole_row_weight: float
) -> tuple[Tensor, Tensor]:
    length = max(len(ids) for ids, _ in batch)
    ids = torch.full((len(batch), length), pad)
    answer, whole = torch.zeros(ids.shape), torch.zeros(ids.shape)
    for i, (row, prompt_length) in enumerate(batch):
        ids[i, : len(row)] = torch.tensor(row)
        answer[i, prompt_length : len(row)] = 1.0
        whole[i, 1 : len(row)] = 1.0
    return ids, answer / answer.sum() + whole_row_weight * whole / whole.sum()


def text_batches(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, random: Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of packed running text, documents parted by the padding token."""
    source = documents(random)
    stream: list[int] = []
    size = recipe.text_blocks_per_step * TEXT_LENGTH
    while True:
        while len(stream) < size:
            stream += [*tokenizer(next(source)).input_ids, tokenizer.pad_token_id]
        ids = torch.tensor(stream[:size]).view(-1, TEXT_LENGTH)
        stream = stream[size:]
        weights = torch.ones(ids.shape)
        weights[:, 0] = 0
        yield ids, weights / weights.sum()


def train(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int
) -> Iterator[tuple[int, float, int]]:
    """Train in place; yields step, loss and tokens so far after each step."""
    rows = row_batches(tokenizer, recipe, Random(seed))
    text = text_batches(tokenizer, recipe, Random(seed + 1))
    optimizer = _optimizer(model, recipe)
    model.train()
    tokens = 0
    for step in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, recipe)
        ids, weights = next(text if step % recipe.text_every == 0 else rows)
        loss = weighted_loss(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += ids.numel()
        yield step, loss.item(), tokens


def prepare_fast_training(model: Qwen2ForCausalLM) -> None:
    """Let CPUs that can multiply in bfloat16 do so: measured 1.3 times faster at this size."""
    torch.set_float32_matmul_precision("medium")
    # The fused attention kernel becomes ten times slower under that setting, plain products do not.
    model.set_attn_implementation("eager")


def weighted_loss(model: Qwen2ForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy in nats; `weights` (B, T) belong to the tokens that are predicted."""
    # Padding stands on the right, so the causal mask alone keeps it from every real token.
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum()


def _optimizer(model: Qwen2ForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _schedule(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return step / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def run_training(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int
) -> Trained:
    """The whole training, timed."""
    prepare_fast_training(model)
    recent: list[float] = []
    started, total = time.perf_counter(), 0
    for _, loss, tokens in train(model, tokenizer, recipe, seed):
        recent, total = [*recent[-19:], loss], tokens
    model.eval()
    return Trained(model, time.perf_counter() - started, total, sum(recent) / len(recent))
