"""The model cards: what was trained, how, how long, and what was measured afterwards."""

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2ForCausalLM,
)

from labs.bundled.corpus import Row
from labs.bundled.evaluate import accuracy_by_task, perplexity
from labs.bundled.pretrain import Recipe, Shape, Trained

DATASETS = Path(__file__).parent / "datasets"
SUPERVISED = ("desk", "tickets", "handover", "topics")
TEMPLATE = """---
license: apache-2.0
language: [en, zh]
library_name: transformers
pipeline_tag: text-generation
tags: [bunsen]
---

# Bunsen {name}

{purpose}

A Qwen2 model with {parameters:,} parameters, trained from random weights on text that the scripts in
`labs/bundled` write: tickets of an invented campus help desk, instructions about them, campus news,
plain English and Traditional Chinese sentences, small Python functions. It knows nothing of the world.

Made by `python -m labs.bundled.make {name}` (seed {seed}).

## Shape

{shape}

## Training

{training}

The loss of a task row is the cross-entropy of its answer plus {whole_row_weight} times that of the
whole row; that of running text is the plain cross-entropy. Muon trains the matrices inside the
layers, AdamW the rest; the rates rise linearly, then fall along a cosine. Gradients are clipped at 1.

## Measured

On the test splits of the bundled datasets, none of whose tickets or texts were in training. Greedy
generation; an answer counts when it equals the reference after stripping.

{measured}

`desk` holds the tasks the model was trained on, on new tickets. `tickets`, `handover` and `topics`
are tasks nobody told it about: they are there to be learned by fine-tuning.

## Limits

Everything is written from templates. English and Chinese beyond its words fall apart into short
pieces. Learn with it how methods work; do not let it answer real tickets.
"""


def write_card(
    folder: Path,
    purpose: str,
    seed: int,
    shape: Shape,
    recipes: Sequence[Recipe],
    trained: Sequence[Trained],
) -> None:
    """Measure the model and write its `README.md`."""
    # Measured as a student will load it: from the folder, in fp32, at full precision.
    torch.set_float32_matmul_precision("highest")
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    text = TEMPLATE.format(
        name=folder.name,
        purpose=purpose,
        parameters=model.num_parameters(),
        seed=seed,
        shape=_table(("size", "value"), _shape_lines(shape)),
        training=_table(("what", "value"), _training_lines(recipes, trained)),
        whole_row_weight=recipes[0].whole_row_weight,
        measured=_table(("what", "rows", "reached"), measure(model, tokenizer)),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def measure(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> list[tuple[str, ...]]:
    """Exact answers on every supervised test split, and perplexity on running text."""
    lines = []
    for name in SUPERVISED:
        rows = answered_rows(name, "test")
        share = accuracy_by_task(model, tokenizer, rows)["all"]
        lines.append((f"`{name}`, exact answers", str(len(rows)), f"{100 * share:.1f} %"))
    texts = [line["text"] for line in _lines("campus", "test")]
    reached = f"{perplexity(model, tokenizer, texts):.2f}"
    return [*lines, ("`campus`, perplexity, packed blocks of 256", str(len(texts)), reached)]


def answered_rows(name: str, split: str) -> list[Row]:
    """The rows of a bundled dataset, each with its one exact answer."""
    return [_row(name, line) for line in _lines(name, split)]


def _row(name: str, line: dict[str, str]) -> Row:
    if "messages" in line:
        asked, answer = (message["content"] for message in json.loads(line["messages"]))
        return Row(name, asked, "", answer)
    if "label" in line:
        return Row(name, line["text"], "", line["label"])
    if "response" in line:
        return Row(name, line["instruction"], line["context"], line["response"])
    return Row(name, line["instruction"], line["input"], line["output"])


def _lines(name: str, split: str) -> list[dict[str, str]]:
    """The rows of a split; a list of messages stays JSON, so that every value is text."""
    text = (DATASETS / name / f"{split}.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}
        for row in rows
    ]


def _shape_lines(shape: Shape) -> list[tuple[str, ...]]:
    return [
        ("layers", str(shape.layers)),
        ("hidden size", str(shape.hidden_size)),
        ("attention heads, key-value heads", f"{shape.heads}, {shape.kv_heads}"),
        ("intermediate size", str(shape.intermediate_size)),
        ("embeddings", "tied with the output"),
        ("biases", "queries, keys, values"),
    ]


def _training_lines(recipes: Sequence[Recipe], trained: Sequence[Trained]) -> list[tuple[str, ...]]:
    def then(values: Iterable[object]) -> str:
        return ", then ".join(map(str, values))

    return [
        ("device", f"CPU ({platform.machine()}), {torch.get_num_threads()} threads, fp32"),
        ("torch", torch.__version__),
        ("time", f"{sum(part.seconds for part in trained):.0f} s"),
        ("steps", then(f"{recipe.steps:,}" for recipe in recipes)),
        ("steps on running text", f"every {recipes[0].text_every}th"),
        ("rows a step", str(recipes[0].rows_per_step)),
        ("tokens, padding included", f"{sum(part.tokens for part in trained):,}"),
        ("learning rate of Muon", then(recipe.muon_rate for recipe in recipes)),
        ("learning rate of AdamW", then(recipe.learning_rate for recipe in recipes)),
        ("loss, mean of the last 20 steps", f"{trained[-1].final_loss:.3f}"),
    ]


def _table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rule = tuple("---" for _ in head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
