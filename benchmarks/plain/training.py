"""The training loop of a plain script: AdamW, warm-up and cosine, the loss of the answers."""

import json
import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

# Token ids of a row, and how many of them are its prompt.
Encoded = tuple[list[int], int]


def read_rows(tokenizer: Any, file: str) -> list[Encoded]:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return [encode(tokenizer, json.loads(line)) for line in lines]


def encode(tokenizer: Any, row: dict[str, str]) -> Encoded:
    text = row["instruction"] + ("\n\n" + row["input"] if row.get("input") else "")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    first = tokenizer(prompt, add_special_tokens=False).input_ids
    answer = tokenizer(row["output"], add_special_tokens=False).input_ids
    return [*first, *answer, tokenizer.eos_token_id], len(first)


def train(
    model: Any, rows: list[Encoded], pad: int, seed: int, params: dict[str, Any]
) -> tuple[list[float], float]:
    """Seconds at the end of each step, by a clock of any beginning, and the loss of the last."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, weight_decay=params["weight_decay"], fused=True)
    model.train()
    ends, loss = [], math.nan
    for step in range(1, params["steps"] + 1):
        inputs = batch(rows, step, params["batch_size"], seed, pad)
        loss = one_step(model, optimizer, trained, inputs, rate(step, params), params)
        ends.append(time.perf_counter())
    return ends, loss


def batch(rows: list[Encoded], step: int, size: int, seed: int, pad: int) -> list[torch.Tensor]:
    picked: list[int] = []
    position = (step - 1) * size
    while len(picked) < size:
        epoch, offset = divmod(position + len(picked), len(rows))
        picked += order(len(rows), epoch, seed)[offset : offset + size - len(picked)]
    chosen = [rows[i] for i in picked]
    length = max(len(ids) for ids, _ in chosen)
    ids = torch.full((size, length), pad)
    mask = torch.zeros(size, length, dtype=torch.long)
    labels = torch.full((size, length), -100)
    for line, (tokens, prompt) in enumerate(chosen):
        ids[line, : len(tokens)] = torch.tensor(tokens)
        mask[line, : len(tokens)] = 1
        labels[line, prompt : len(tokens)] = ids[line, prompt : len(tokens)]
    return [ids, mask, labels]


@cache
def order(rows: int, epoch: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator).tolist()


def rate(step: int, params: dict[str, Any]) -> float:
    steps, peak = params["steps"], params["learning_rate"]
    warmup = round(params["warmup_fraction"] * steps)
    if step <= warmup:
        return float(peak * step / warmup)
    done = (step - 1 - warmup) / max(1, steps - warmup)
    return float(peak * 0.5 * (1 + math.cos(math.pi * done)))


def one_step(
    model: Any, optimizer: Any, trained: list[Any], inputs: list[Any], lr: float, params: Any
) -> float:
    ids, mask, labels = inputs
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    logits = logits[:, -ids.shape[1] :][:, :-1]  # a soft prompt before the text has some of its own
    targets = labels[:, 1:]
    kept = targets != -100
    loss = F.cross_entropy(logits[kept].float(), targets[kept])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, params["gradient_clipping"])
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return loss.item()
