"""What every lab relies on: the bundled models and datasets are there, whole, and honest."""

import filecmp
import json
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2ForCausalLM,
)

from labs import bundled
from labs.bundled import corpus, prose
from labs.bundled.cards import answered_rows
from labs.bundled.evaluate import accuracy_by_task
from labs.bundled.grow import grow
from labs.bundled.pretrain import Shape, make_model
from labs.bundled.rows import write_datasets
from labs.datasets import Example, inspect, read_splits
from labs.models import read_facts

MODELS = ("base", "teacher", "student")
DATASETS = {
    "campus": "text",
    "desk": "messages",
    "handover": "dolly",
    "replies": "preference",
    "tickets": "alpaca",
    "topics": "text_label",
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = AutoTokenizer.from_pretrained(bundled.models()["base"])
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer


def asked(example: Example) -> str:
    return example.prompt[-1].content if example.prompt else example.answer


def subject(example: Example) -> str:
    """The ticket that an example is about, or the running text that it is."""
    return asked(example).rpartition("\n\n")[2] if example.prompt else example.answer


def test_all_models_and_datasets_are_there() -> None:
    assert set(bundled.models()) == set(MODELS)
    assert set(bundled.datasets()) == set(DATASETS)
    assert bundled.DEFAULT_MODEL in bundled.models()
    assert bundled.DEFAULT_DATASET in bundled.datasets()


def test_growing_changes_nothing_yet(tokenizer: PreTrainedTokenizerFast) -> None:
    small = make_model(Shape(64, 2, 2, 1, 128), tokenizer, seed=1)
    large = make_model(Shape(64, 4, 2, 1, 256), tokenizer, seed=2)
    grow(small, large)
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(large(ids).logits, small(ids).logits)


def test_finding_them_needs_no_torch() -> None:
    code = (
        "import sys, labs.bundled as b; b.models(), b.datasets(); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=bundled.ROOT.parents[1])


def test_everything_together_stays_small() -> None:
    size = sum(path.stat().st_size for path in bundled.ROOT.rglob("*") if path.is_file())
    assert size < 60_000_000


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_is(name: str) -> None:
    facts = read_facts(bundled.models()[name])
    assert facts.model_type == "qwen2"
    assert facts.biases, "BitFit needs biases"
    assert facts.tied
    assert facts.has_chat_template
    assert facts.max_positions == 1024
    assert facts.hidden_size % (128 if name == "student" else 256) == 0
    assert facts.intermediate_size % 128 == 0


def test_base_stands_between_student_and_teacher() -> None:
    student, base, teacher = (
        read_facts(bundled.models()[name]).parameters for name in ("student", "base", "teacher")
    )
    assert student * 3 < base < teacher / 2


@pytest.mark.parametrize("name", MODELS)
def test_a_model_loads_and_ends_its_turn(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(bundled.models()[name])
    assert model.config.pad_token_id == model.generation_config.pad_token_id == 0
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size == len(tokenizer)


def test_all_models_share_the_tokenizer() -> None:
    texts = {(folder / "tokenizer.json").read_bytes() for folder in bundled.models().values()}
    assert len(texts) == 1


@pytest.mark.parametrize(
    "text",
    [
        "The printer in room 204 is jammed.",
        "204 教室的投影機沒有畫面,十分鐘後就要考試。",
        "def load(path: str) -> dict[str, Any]:\n    return json.loads(path)\n",
        "龍飛鳳舞 🙂 naïve Ωmega \t \x07 e\u0301galité".replace("e\u0301", "é"),
        "  two  spaces\r\n\r\nand lines ",
    ],
)
def test_any_text_survives_the_tokenizer(text: str, tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_ordinary_english_is_not_cut_into_bytes(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "Return the value of the given key, or raise an error if it is missing."
    assert len(text) / len(tokenizer(text).input_ids) > 2.5


def test_padding_is_not_the_end_that_must_be_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.eos_token == "<|im_end|>"


def test_the_prompt_is_a_prefix_of_the_conversation(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Reply."}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    answered = [*turns, {"role": "assistant", "content": "Dear Mei"}]
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    assert whole == f"{prompt}Dear Mei<|im_end|>\n"


def test_the_answer_can_be_found_in_the_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [{"role": "user", "content": "Reply."}, {"role": "assistant", "content": "Dear Mei"}]
    encoded: Any = tokenizer.apply_chat_template(
        turns, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    assert tokenizer.decode([token for token, answer in pairs if answer]) == "Dear Mei<|im_end|>"


def test_a_person_cannot_write_the_end_of_a_turn_by_accident(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    assert tokenizer.eos_token_id not in tokenizer("<im_end> |im_end|").input_ids


@pytest.mark.parametrize(("name", "form"), DATASETS.items())
def test_a_dataset_passes_its_own_check(name: str, form: str) -> None:
    folder = bundled.datasets()[name]
    verdict = inspect(folder)
    card = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert verdict.ok, verdict.problems
    assert not verdict.warnings
    assert verdict.format == card["format"] == form
    assert card["license"] == "Apache-2.0"
    assert card["name"] == name


def test_no_prompt_stands_in_two_splits_or_two_datasets() -> None:
    seen: set[str] = set()
    for name, folder in bundled.datasets().items():
        splits = read_splits(folder)
        for part in (splits.train, splits.validation, splits.test):
            texts = {subject(example) for example in part}
            assert not texts & seen, name
            seen |= texts


def test_pretraining_never_reads_what_models_are_judged_by() -> None:
    judged = {subject(e) for f in bundled.datasets().values() for e in read_splits(f).test}
    read = {row.text for row in islice(corpus.pretraining_rows(Random(7)), 3000)}
    read |= set(islice(prose.documents(Random(8)), 1000))
    assert not judged & read


def test_answers_do_not_stand_in_their_prompts() -> None:
    for name in ("tickets", "handover", "topics"):
        for example in read_splits(bundled.datasets()[name]).test:
            assert example.answer not in asked(example)


def test_no_label_is_rare_in_any_split() -> None:
    splits = read_splits(bundled.datasets()["topics"])
    for part in (splits.train, splits.validation, splits.test):
        labels = [example.answer for example in part]
        assert min(labels.count(label) for label in set(labels)) > len(labels) / 20
        assert len(set(labels)) == 6


def test_datasets_come_out_of_the_script_to_the_byte(tmp_path: Path) -> None:
    write_datasets(tmp_path)
    for name, folder in bundled.datasets().items():
        files = [path.name for path in folder.iterdir()]
        assert filecmp.cmpfiles(folder, tmp_path / name, files, shallow=False)[0] == files


def card_share(model: str, dataset: str) -> float:
    """What the model's card says it reaches on a dataset, 0 to 1."""
    card = (bundled.models()[model] / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"`{dataset}`, exact answers \| \d+ \| ([\d.]+) %", card)
    assert found
    return float(found[1]) / 100


@pytest.mark.parametrize("dataset", ["desk", "tickets"])
def test_the_base_does_what_its_card_says(dataset: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = Qwen2ForCausalLM.from_pretrained(bundled.models()["base"], dtype=torch.float32)
    rows = answered_rows(dataset, "test")[:60]
    share = accuracy_by_task(model, tokenizer, rows)["all"]
    assert share == pytest.approx(card_share("base", dataset), abs=0.1)


def test_the_base_knows_its_tasks_and_not_the_new_ones() -> None:
    assert card_share("base", "desk") > 0.9
    for name in ("tickets", "handover", "topics"):
        assert card_share("base", name) < 0.2
