"""P-tuning v2 with its classification head: trained with the prompts, kept with them, loaded by ten lines."""

import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from labs import registry
from labs.choices import choose_dataset
from labs.common import latency
from labs.common.agreement import agree, largest_difference, logits
from labs.common.batches import IGNORED, collate
from labs.common.formatting import encode_prompts
from labs.common.loading import count_parameters, load_tokenizer
from labs.common.loss import answer_loss
from labs.common.state import TrainingState
from labs.common.training import update
from labs.contract import BadData, LabContext, LabError
from labs.datasets import read_splits
from labs.models import read_facts
from labs.peft.p_tuning_v2 import classification, method
from labs.peft.p_tuning_v2.classification import LabelRows, labels_of
from labs.peft.p_tuning_v2.spec import PTuningV2Params
from labs.peft.p_tuning_v2.tuning import HEAD, PTuningV2, head_of
from labs.runspec import write_params
from labs.trainer import Outcome, StopFlag, run_attempt
from tests.labs.runs import events_of, make_context, make_spec
from tests.labs.tiny import make_labelled

LAB = registry.get("p_tuning_v2")
SMALL = {"head": "classification", "virtual_tokens": 4, "learning_rate": 0.05, "max_length": 64}
PROMPTS = [(1, 40, 50, 60, 70), (1, 99, 98, 97, 96, 95, 94)]
LETTERS = tuple("abcdef")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_labelled(tmp_path_factory.mktemp("labelled") / "letters.jsonl")


@pytest.fixture
def run(tiny_model: Path, labelled: Path, tmp_path: Path) -> LabContext:
    return make_context(tmp_path / "run", make_spec(tiny_model, labelled, lab=LAB.slug))


def of(run: LabContext, **changes: Any) -> PTuningV2:
    return PTuningV2(PTuningV2Params.model_validate({**SMALL, **changes}), run)


def fresh(made: PTuningV2, run: LabContext) -> Any:
    torch.manual_seed(0)
    return made.attach(made.load_base(run))


def trained(made: PTuningV2, run: LabContext) -> Any:
    model = fresh(made, run)
    state = TrainingState(model, made.params, "cpu", made.decays)
    batch = collate(made.rows(run).train[:8], 0, "cpu")
    for _ in range(2):
        update(state, [batch], made.params, 0.05)
    return model


def test_prompts_and_head_are_trained_and_nothing_else(run: LabContext, tiny_model: Path) -> None:
    made = of(run)
    before = {name: p.detach().clone() for name, p in fresh(made, run).named_parameters()}
    model = trained(made, run)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(moved) == 2
    assert any("lm_head" in name for name in moved)
    facts = read_facts(tiny_model)
    counted = count_parameters(model)[1]
    assert counted == made.params.trainable_parameters(facts, len(LETTERS))
    assert counted == method.count_parameters(2, 4, 2, 16, len(LETTERS), 64)


def test_the_label_is_the_only_target_and_read_at_the_last_token(
    run: LabContext, labelled: Path
) -> None:
    made = of(run)
    tokenizer, examples = load_tokenizer(run.base_model), read_splits(labelled).train[:3]
    rows = LabelRows(LETTERS)(tokenizer, examples, 64)
    prompts = encode_prompts(tokenizer, [example.prompt for example in examples])
    for row, prompt, example in zip(rows, prompts, examples, strict=True):
        assert row.ids == (*prompt, LETTERS.index(example.answer))
        assert (row.targets, row.truncated) == (1, False)
    assert ((collate(rows, 0, "cpu")["labels"] != IGNORED).sum(dim=1) == 1).all()
    # What is learned is what is asked: the loss is that of the scores behind the prompt alone.
    model = fresh(made, run)
    with torch.no_grad():
        loss = answer_loss(model, collate(rows, 0, "cpu"))
        scores = classification.scores(model, prompts, 0, "cpu")
    targets = torch.tensor([row.ids[-1] for row in rows])
    torch.testing.assert_close(loss, F.cross_entropy(scores, targets, reduction="sum"))


def test_long_prompts_lose_their_beginning(run: LabContext, labelled: Path) -> None:
    tokenizer, examples = load_tokenizer(run.base_model), read_splits(labelled).train[:3]
    whole, cut = (LabelRows(LETTERS)(tokenizer, examples, length) for length in (64, 20))
    for long, short in zip(whole, cut, strict=True):
        assert short.truncated
        assert short.ids == long.ids[-20:]
        assert short.targets == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_saved_head_and_prompts_predict_the_same(
    run: LabContext, tmp_path: Path, precision: str
) -> None:
    made = of(run, precision=precision)
    model = trained(made, run)
    assert head_of(model).weight.dtype == torch.float32
    said = logits(model, PROMPTS, "cpu")
    assert said[0].shape == (5, len(LETTERS))
    made.save(model, tmp_path, "tiny")
    assert (tmp_path / HEAD).is_file()
    torch.manual_seed(9)  # another fresh head, which must not stay
    again = logits(made.load_tuned(run, tmp_path), PROMPTS, "cpu")
    found = agree(said, again, torch.float32 if precision == "fp32" else torch.bfloat16)
    assert found.difference <= (0.0 if precision == "fp32" else found.tolerance)


def test_a_row_is_named_alike_alone_and_beside_longer_ones(run: LabContext) -> None:
    made = of(run)
    model, data = trained(made, run), made.rows(run)
    tokenizer = load_tokenizer(run.base_model)
    together = made.ask(model, tokenizer, data.questions, "cpu")
    alone = [made.ask(model, tokenizer, [question], "cpu")[0] for question in data.questions]
    assert together == alone
    assert set(together) <= set(LETTERS)


def test_all_stages_and_the_lines_of_the_card(
    run: LabContext,
    tiny_model: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "GENERATIONS", 3)
    folder = tmp_path / "whole"
    given = {**SMALL, "steps": 3, "evaluation_interval": 3, "batch_size": 4}
    write_params(folder, make_spec(tiny_model, labelled, given, lab=LAB.slug))
    assert run_attempt(folder, StopFlag()) == Outcome("succeeded")
    masks = next(e for e in events_of(folder, "samples") if e["name"] == "masks")
    # What the head learns is the label: no end token stands behind it.
    assert {row["answer"] for row in masks["rows"]} <= set(LETTERS)
    first = next(e for e in events_of(folder, "metrics") if "eval/loss" in e["values"])
    # A fresh head says nothing: about ln 6 nats for six labels.
    assert first["values"]["eval/loss"] == pytest.approx(math.log(6), abs=0.5)

    kept = folder / "artifacts" / "adapter"
    expected = logits(of(run).load_tuned(run, kept), PROMPTS, "cpu")
    here = Path(shutil.copytree(kept, tmp_path / "card"))
    (here / "tiny").symlink_to(tiny_model)
    monkeypatch.chdir(here)
    world: dict[str, Any] = {}
    card = (here / "README.md").read_text(encoding="utf-8")
    exec(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0], world)
    assert largest_difference(expected, logits(world["model"], PROMPTS, "cpu")) < 1e-5
    assert tuple(world["labels"]) == LETTERS


def test_a_dataset_without_labels_is_refused_before_the_queue(
    tiny_dataset: Path, labelled: Path
) -> None:
    params = LAB.params.model_validate(SMALL)
    refused = LAB.accepts.refuse_format("prompt_completion", params)
    assert refused is not None
    assert refused.parameter == "head"
    assert "“topics”" in str(refused)
    with pytest.raises(LabError, match="needs a dataset with labels"):
        choose_dataset(LAB, params, str(tiny_dataset))
    choose_dataset(LAB, params, str(labelled))
    choose_dataset(LAB, LAB.params(), str(tiny_dataset))


def test_more_labels_than_a_head_is_made_for_are_refused(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels_of.cache_clear()
    monkeypatch.setattr(classification, "MOST_LABELS", 5)
    with pytest.raises(BadData, match=r"has 6 different labels; .* at most 5"):
        labels_of(labelled)
    labels_of.cache_clear()
