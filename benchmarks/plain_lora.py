"""LoRA as anybody would write it with peft and transformers: no Bunsen in it, nothing logged.

Prints one JSON object: seconds between the end of the first and of the last step, and the
last loss. The rows, their order, the seed and the rates are those of the LoRA lab.
"""

import json
import math
import os
import sys
import time
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(model_dir: str, rows_file: str, steps: int, batch_size: int, seed: int) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    lines = Path(rows_file).read_text(encoding="utf-8").splitlines()
    rows = [encode(tokenizer, json.loads(line)) for line in lines]
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
    model = get_peft_model(model, config)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, weight_decay=0.0)
    model.train()
    for step in range(1, steps + 1):
        loss = one_step(
            model,
            optimizer,
            trained,
            batch(rows, step, batch_size, seed, tokenizer),
            rate(step, steps),
        )
        if step == 1:
            began = time.perf_counter()
    print(json.dumps({"seconds": time.perf_counter() - began, "loss": loss}))


def encode(tokenizer, row):  # type: ignore[no-untyped-def]
    text = row["instruction"] + ("\n\n" + row["input"] if row.get("input") else "")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    first = tokenizer(prompt, add_special_tokens=False).input_ids
    answer = tokenizer(row["output"], add_special_tokens=False).input_ids
    return [*first, *answer, tokenizer.eos_token_id], len(first)


def batch(rows, step, size, seed, tokenizer):  # type: ignore[no-untyped-def]
    picked = []
    position = (step - 1) * size
    while len(picked) < size:
        epoch, offset = divmod(position + len(picked), len(rows))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(rows), generator=generator).tolist()
        picked += order[offset : offset + size - len(picked)]
    chosen = [rows[i] for i in picked]
    length = max(len(ids) for ids, _ in chosen)
    ids = torch.full((size, length), tokenizer.pad_token_id)
    mask = torch.zeros(size, length, dtype=torch.long)
    labels = torch.full((size, length), -100)
    for line, (tokens, prompt) in enumerate(chosen):
        ids[line, : len(tokens)] = torch.tensor(tokens)
        mask[line, : len(tokens)] = 1
        labels[line, prompt : len(tokens)] = ids[line, prompt : len(tokens)]
    return ids, mask, labels


def rate(step: int, steps: int) -> float:
    warmup = max(1, round(0.05 * steps))
    if step <= warmup:
        return 5e-3 * step / warmup
    return 5e-3 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def one_step(model, optimizer, trained, inputs, lr):  # type: ignore[no-untyped-def]
    ids, mask, labels = inputs
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    targets = labels[:, 1:]
    kept = targets != -100
    loss = F.cross_entropy(logits[kept].float(), targets[kept])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return loss.item()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:6]))
