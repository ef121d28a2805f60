"""Makes everything in this folder again: `python -m labs.bundled.make [what ...]`.

`corpus` shows a sample of what the models read, `tokenizer` and `datasets` take seconds, `base`,
`teacher` and `student` train a model; `all` makes all but the sample. Texts come out the same to the
byte everywhere; weights differ in the last digits between machines.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2ForCausalLM

from labs.bundled import ROOT
from labs.bundled.cards import write_card
from labs.bundled.corpus import pretraining_rows
from labs.bundled.grow import grow
from labs.bundled.pretrain import Recipe, Shape, make_model, run_training
from labs.bundled.prose import documents
from labs.bundled.rows import write_datasets
from labs.bundled.tokenizer import make_tokenizer

SEED = 0
TOKENIZER = ROOT / "vocabulary"


@dataclass(frozen=True, slots=True)
class Plan:
    """A bundled model: what it is for, how large, how trained, how stored."""

    purpose: str
    shape: Shape
    recipes: tuple[Recipe, ...]
    dtype: torch.dtype = torch.float32
    grown_from: str = ""


PLANS = {
    "base": Plan(
        "The base model of the labs: it follows the instructions it was taught, and no others.",
        Shape(hidden_size=256, layers=4, heads=4, kv_heads=2, intermediate_size=512),
        (Recipe(steps=2600), Recipe(steps=600, learning_rate=2e-3, muon_rate=3e-3)),
    ),
    "teacher": Plan(
        "The larger model that distillation learns from. It began as the base with twice the layers "
        "and twice the feed-forward width, grown so that nothing changed, and was trained on.",
        Shape(hidden_size=256, layers=8, heads=4, kv_heads=2, intermediate_size=1024),
        (Recipe(steps=200, learning_rate=1e-3, muon_rate=2e-3),),
        dtype=torch.bfloat16,
        grown_from="base",
    ),
    "student": Plan(
        "The small model that distillation teaches: it knows the language of the campus "
        "and follows instructions only some of the time.",
        Shape(hidden_size=128, layers=2, heads=4, kv_heads=2, intermediate_size=256),
        (Recipe(steps=1200),),
    ),
}


def make_corpus() -> None:
    """Show what the models read; all of it is written while they train."""
    for row in islice(pretraining_rows(Random(SEED)), 12):
        print(f"{row.instruction}\n{row.text}\n  → {row.answer}\n")
    for text in islice(documents(Random(SEED)), 6):
        print(f"{text}\n")


def make_tokenizer_folder() -> None:
    make_tokenizer(SEED).save_pretrained(TOKENIZER)


def make_datasets() -> None:
    write_datasets(ROOT / "datasets")


def make_one(name: str) -> None:
    """Train one model and write its folder; the card measures what was written."""
    plan, folder = PLANS[name], ROOT / "models" / name
    tokenizer = PreTrainedTokenizerFast.from_pretrained(TOKENIZER)
    model = make_model(plan.shape, tokenizer, SEED)
    if plan.grown_from:
        smaller = ROOT / "models" / plan.grown_from
        grow(Qwen2ForCausalLM.from_pretrained(smaller, dtype=torch.float32), model)
    # Each recipe goes on with the weights, a fresh optimizer and texts not read before.
    trained = [
        run_training(model, tokenizer, recipe, SEED + 10 * i, say=print)
        for i, recipe in enumerate(plan.recipes)
    ]
    model.to(plan.dtype)  # type: ignore[arg-type]  # declared as a method of a decorator
    model.save_pretrained(folder)
    _generation_config(tokenizer).save_pretrained(folder)
    shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
    write_card(folder, plan.purpose, SEED, plan.shape, plan.recipes, trained)


def _generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    return GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=48,
        do_sample=False,
    )


MAKERS: dict[str, Callable[[], None]] = {
    "corpus": make_corpus,
    "tokenizer": make_tokenizer_folder,
    "datasets": make_datasets,
    **{name: partial(make_one, name) for name in PLANS},
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m labs.bundled.make", description=__doc__)
    parser.add_argument("what", nargs="*", default=["all"], choices=[*MAKERS, "all"])
    chosen = parser.parse_args(arguments).what
    for name in [name for name in MAKERS if name != "corpus"] if "all" in chosen else chosen:
        print(f"Making {name}")
        MAKERS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
