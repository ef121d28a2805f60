"""`python -m benchmarks.plain.distillation STUDENT LESSON SEED PARAMS`: one distillation, by hand.

LESSON is the file of rows and soft labels that a run left; rows, order, seed and rates are those of
the lab. Prints one JSON object: the time at the end of each step, in seconds, and the last loss.
"""

import json
import os
import sys
import time
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from benchmarks.plain.methods import load
from benchmarks.plain.training import Encoded, batch, order, rate

PAD = 0


def main(student: str, lesson: str, seed: str, given: str) -> None:
    params = json.loads(given)
    torch.set_num_threads(os.cpu_count() or 1)
    stored = load_file(lesson)
    prompts = stored["prompts"].tolist()
    pieces = stored["ids"].split(stored["lengths"].tolist())
    rows: list[Encoded] = [(ids.tolist(), n) for ids, n in zip(pieces, prompts, strict=True)]
    torch.manual_seed(int(seed))
    ends, loss = train(load(student), rows, stored, int(seed), params)
    print(json.dumps({"ends": ends, "loss": loss}))


def train(
    model: Any, rows: list[Encoded], stored: dict[str, Any], seed: int, params: dict[str, Any]
) -> tuple[list[float], float]:
    """Seconds at the end of each step, and the loss of the last."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    decayed = {"params": matrices, "weight_decay": params["weight_decay"]}
    optimizer = torch.optim.AdamW([decayed, {"params": vectors, "weight_decay": 0.0}], fused=True)
    starts = [0, *accumulate(len(ids) - prompt for ids, prompt in rows)]
    model.train()
    ends, loss = [], 0.0
    for step in range(1, params["steps"] + 1):
        picked = indices(len(rows), step, params["batch_size"], seed)
        places = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in picked])
        known = torch.tensor([i < int(stored["labelled"]) for i in picked])
        ids, mask, labels = batch(rows, step, params["batch_size"], seed, PAD)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        kept = labels[:, 1:] != -100
        total = loss_of(logits[kept], labels[:, 1:][kept], stored, places, known[:, None].expand_as(kept)[kept], params)  # fmt: skip
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), params["gradient_clipping"])
        for group in optimizer.param_groups:
            group["lr"] = rate(step, params)
        optimizer.step()
        loss = total.item()
        ends.append(time.perf_counter())
    return ends, loss


def indices(rows: int, step: int, size: int, seed: int) -> list[int]:
    picked: list[int] = []
    while len(picked) < size:
        epoch, offset = divmod((step - 1) * size + len(picked), rows)
        picked += order(rows, epoch, seed)[offset : offset + size - len(picked)]
    return picked


def loss_of(
    logits: Any, targets: Any, stored: dict[str, Any], places: Any, true: Any, params: Any
) -> Any:
    """Hinton's loss with the kept tokens and the rest, and the cross-entropy of labelled rows."""
    t = params["temperature"]
    log_q = (logits / t).log_softmax(-1)
    log_p, tokens = stored["log_probs"][places], stored["tokens"][places].long()
    rest = stored["rest"][places]
    soft = (log_p.exp() * (log_p - log_q.gather(-1, tokens))).sum(-1)
    other = log_q.scatter(-1, tokens, -torch.inf).logsumexp(-1)
    soft = soft + rest.exp() * (rest - other)
    hard = F.cross_entropy(logits[true], targets[true], reduction="sum")
    weighted = params["soft_weight"] * t * t * soft.sum() + params["hard_weight"] * hard
    return weighted / len(targets)


if __name__ == "__main__":
    main(*sys.argv[1:])
