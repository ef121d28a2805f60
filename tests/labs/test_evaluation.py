"""Answers and figures that do not depend on how they were batched."""

import math
from pathlib import Path
from typing import Any

import pytest

from labs.common import evaluation, generation, latency
from labs.common.data import Question, prepare
from labs.common.evaluation import ask, commonest_answer_share, evaluate, perplexity
from labs.common.generation import answers, same_answer
from labs.common.latency import GENERATIONS, measure_latency
from labs.common.loading import load_model, load_tokenizer
from labs.common.params import SPARE_TOKENS, TrainingParams
from labs.contract import BadData
from labs.datasets import Example, Message
from labs.runspec import write_params
from labs.trainer import Outcome, StopFlag, run_attempt
from tests.labs.runs import make_spec


def test_answers_do_not_depend_on_their_neighbours(tiny_model: Path) -> None:
    model, tokenizer = load_model(tiny_model, "cpu"), load_tokenizer(tiny_model)
    prompts = [tuple(range(20, 20 + length)) for length in (3, 9, 5, 14)]
    together = answers(model, tokenizer, prompts, 6, "cpu", batch_size=4)
    assert answers(model, tokenizer, prompts, 6, "cpu", batch_size=1) == together


@pytest.mark.parametrize("batch_size", [1, 3])
def test_no_stage_takes_more_rows_at_once_than_a_training_step(
    batch_size: int,
    tiny_model: Path,
    tiny_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    for module, name in ((evaluation, "collate"), (generation, "pad_left")):
        monkeypatch.setattr(module, name, _counted(getattr(module, name), taken))
    monkeypatch.setattr(latency, "GENERATIONS", 1)
    params = {"batch_size": batch_size, "steps": 1, "evaluation_interval": 1}
    write_params(tmp_path, make_spec(tiny_model, tiny_dataset, params))
    assert run_attempt(tmp_path, StopFlag()) == Outcome("succeeded")
    assert max(taken) == batch_size


def _counted(batched: Any, taken: list[int]) -> Any:
    def counting(rows: Any, *more: Any) -> Any:
        taken.append(len(rows))
        return batched(rows, *more)

    return counting


def test_no_answer_is_awaited_for_longer_than_a_row_may_be(
    tiny_model: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    asked = [Question(Example((Message("user", "q"),), "a"), (20, 21), 500)]
    allowed: list[int] = []

    def limit(*given: Any, batch_size: int) -> list[str]:
        allowed.append(given[3])
        return [""]

    monkeypatch.setattr(evaluation, "answers", limit)
    ask(load_model(tiny_model, "cpu"), tokenizer, asked, "cpu", TrainingParams(max_length=16))
    assert allowed == [16 + SPARE_TOKENS]


def test_evaluation_gives_loss_perplexity_and_accuracy(
    tiny_model: Path, tiny_dataset: Path
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    data = prepare(tiny_dataset, tokenizer, 64)
    values = evaluate(load_model(tiny_model, "cpu"), tokenizer, data, "cpu", TrainingParams())
    assert values["eval/perplexity"] == pytest.approx(math.exp(values["eval/loss"]))
    assert 0 <= values["eval/accuracy"] <= 1


def test_held_out_questions_are_the_same_whatever_the_seed_of_the_run(
    tiny_model: Path, tiny_dataset: Path
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    first, second = (prepare(tiny_dataset, tokenizer, 64) for _ in range(2))
    assert first.test_questions == second.test_questions
    trained = {row.ids for row in first.train}
    assert not trained & {row.ids for row in (*first.validation, *first.test)}


def test_an_empty_split_is_refused_with_its_name(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n', encoding="utf-8")
    with pytest.raises(BadData, match=r"validation split of “one\.jsonl”"):
        prepare(path, load_tokenizer(tiny_model), 64)


def test_a_perplexity_too_large_for_a_float_is_infinite() -> None:
    assert perplexity(800.0) == math.inf
    assert math.isnan(perplexity(math.nan))


@pytest.mark.parametrize(("found", "right"), [("a  b", True), (" a b\n", True), ("A b", False)])
def test_white_space_does_not_make_an_answer_wrong(found: str, right: bool) -> None:
    assert same_answer(found, "a b") is right


def test_the_trivial_answer_is_the_commonest_of_training() -> None:
    asked = [Question(Example((Message("user", "q"),), a), (1,), 1) for a in ("x", "x", "y", "z")]
    assert commonest_answer_share(asked, ["x", "y", "x"]) == 0.5


def test_latency_counts_a_hundred_generations_in_order(tiny_model: Path) -> None:
    found = measure_latency(load_model(tiny_model, "cpu"), [(20, 21, 22)], "cpu")
    assert found.generations == GENERATIONS >= 100
    assert 0 < found.first_token <= found.mean
    assert found.p50 <= found.p95 <= found.p99
    assert found.tokens_per_second > 0
