"""The training of the bundled models: running text and task rows, answers weighted most.

The loss of a task row is the cross-entropy of its answer plus a fifth of that of the whole row. Plain
language modelling of the same rows stalls near the entropy of the templates, because so little of it
pays for copying the right name or room.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from labs.bundled.corpus import SYSTEM, Row, messages_of, pretraining_rows
from labs.bundled.prose import documents
from labs.bundled.tokenizer import MAX_POSITIONS

IGNORED = -100
TEXT_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model."""

    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    intermediate_size: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast a model is trained."""

    steps: int
    learning_rate: float = 3e-3
    muon_rate: float = 5e-3
    rows_per_step: int = 32
    text_blocks_per_step: int = 8
    text_every: int = 6
    warmup_steps: int = 40
    weight_decay: float = 0.05
    whole_row_weight: float = 0.2


@dataclass(frozen=True, slots=True)
class Trained:
    """The facts of a training, for the card."""

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
    # Each row counts the same: a one-word answer as much as a long reply.
    each = answer / answer.sum(dim=1, keepdim=True) / len(batch)
    return ids, each + whole_row_weight * whole / whole.sum()


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
    optimizers = _optimizers(model, recipe)
    schedulers = [LambdaLR(optimizer, partial(_schedule, recipe)) for optimizer in optimizers]
    model.train()
    tokens = 0
    for step in range(1, recipe.steps + 1):
        ids, weights = next(text if step % recipe.text_every == 0 else rows)
        loss = weighted_loss(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        model.zero_grad(set_to_none=True)
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


def _optimizers(model: Qwen2ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases."""
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "layers" not in name]
    return [
        torch.optim.Muon(
            inner,
            lr=recipe.muon_rate,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _schedule(recipe: Recipe, step: int) -> float:
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def run_training(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    seed: int,
    say: Callable[[str], None],
) -> Trained:
    """The whole training, timed; says how it goes every hundred steps."""
    prepare_fast_training(model)
    losses: list[float] = []
    started, total = time.perf_counter(), 0
    for step, loss, tokens in train(model, tokenizer, recipe, seed):
        losses, total = [*losses[-19:], loss], tokens
        if step % 100 == 0:
            say(f"step {step} of {recipe.steps}, loss {sum(losses) / len(losses):.3f}")
    model.eval()
    return Trained(time.perf_counter() - started, total, sum(losses) / len(losses))
