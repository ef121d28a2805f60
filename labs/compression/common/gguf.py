"""A model of these labs as a GGUF file, and what llama.cpp says with it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.common.artifacts import save_model
from labs.common.cards import write_card
from labs.common.data import Question
from labs.common.evaluation import accuracy
from labs.common.params import SPARE_TOKENS
from labs.compression.common.params import CompressionParams
from labs.contract import Column, Json, Lab, LabContext
from labs.gguf import GgufFacts, expected_bytes, write_gguf
from labs.gguf.llama import Llama
from labs.gguf.metadata import license_of
from labs.models import read_facts
from labs.published import UNFINISHED
from labs.registry import code_version

FILE = "model.gguf"
# Answered by llama.cpp one by one; the first ones, not chosen ones.
ASKED = 64
SHOWN = 8
LOADING = """\
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = "model.gguf"
server = xllamacpp.Server(params)
"""


@contextmanager
def plain_weights(
    run: LabContext, model: PreTrainedModel, dtype: torch.dtype, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Path]:
    """A folder with the model as ordinary weights, gone afterwards."""
    # A name that is swept where a trainer died here.
    folder = run.run_dir / "artifacts" / f"{UNFINISHED}plain"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        save_model(model, dtype, tokenizer, run.base_model, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def leave_gguf(
    run: LabContext, lab: Lab, params: CompressionParams, folder: Path, kind: str, quality: Json
) -> GgufFacts:
    """Write a folder of plain weights as the artifact `gguf`, with a card."""
    described = {
        "base_model": run.base_model_name,
        "description": lab.title,
        "license": license_of(run.base_model),
        "code_version": code_version(lab.slug),
    }
    with run.artifact("gguf", "gguf") as target:
        name = f"{run.base_model_name}, {lab.slug}"
        facts = write_gguf(folder, target / FILE, kind, name, described, run.check_stop)
        write_card(target, lab, params, run, quality, "llama.cpp", LOADING)
    show_gguf(run, folder, facts)
    return facts


def show_gguf(run: LabContext, folder: Path, facts: GgufFacts) -> None:
    """The file's size against the formula, and how many tensors have which format."""
    formats = ", ".join(f"{count} × {name}" for name, count in sorted(facts.types.items()))
    columns = [
        Column("type", "Type"),
        Column("bytes", "Size", "bytes"),
        Column("expected", "Tensors by the formula", "bytes"),
        Column("header", "Header", "bytes"),
        Column("tensors", "Tensors"),
    ]
    expected = expected_bytes(read_facts(folder), facts.kind)
    row = [facts.kind, facts.bytes, expected, facts.header_bytes, formats]
    run.table("gguf", "The file for llama.cpp", columns, [row])


def ask_llama(
    run: LabContext, questions: Sequence[Question], ours: Sequence[str], matched: bool
) -> Json:
    """The same questions to llama.cpp, beside what transformers said with the checkpoint."""
    asked = list(questions[:ASKED])
    if not asked:
        return {}
    said = []
    with Llama(run.run_dir / "artifacts" / "gguf" / FILE) as llama:
        for number, question in enumerate(asked):
            run.check_stop()
            run.progress(number, len(asked), "asking llama.cpp")
            tokens = question.answer_tokens + SPARE_TOKENS
            said.append(llama.greedy(question.prompt, tokens).text.strip())
    _show_answers(run, asked, ours, said)
    same = [ours == theirs for ours, theirs in zip(ours, said, strict=False)]
    return {
        "gguf/same_answers": sum(same) / len(same) if same else None,
        "gguf/accuracy": accuracy(said, asked) if matched else None,
        "gguf/questions": len(asked),
    }


def _show_answers(
    run: LabContext, asked: Sequence[Question], ours: Sequence[str], said: Sequence[str]
) -> None:
    columns = [
        Column("prompt", "Prompt"),
        Column("expected", "Expected"),
        Column("base", "transformers"),
        Column("tuned", "llama.cpp"),
    ]
    rows = [
        {"prompt": q.text, "expected": q.example.answer, "base": before, "tuned": after}
        for q, before, after in zip(asked[:SHOWN], ours, said, strict=False)
    ]
    run.samples("llama", "The same checkpoint in llama.cpp", columns, rows)
