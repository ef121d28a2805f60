"""Prompts at the end of a context: answers still have a place behind them."""

from pathlib import Path

import pytest

from labs.common.context import positions_of, with_room
from labs.common.data import Question
from labs.common.latency import NEW_TOKENS, measure_latency
from labs.common.loading import load_model, load_tokenizer
from labs.common.params import TrainingParams
from labs.formats import Example
from tests.labs.families import make_family
from tests.labs.tuning_cases import Case, context, tuning

POSITIONS = 256


@pytest.fixture(scope="module")
def absolute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2 has a table of positions, and none for the token after its last."""
    return make_family("gpt2", tmp_path_factory.mktemp("families") / "gpt2")


@pytest.mark.parametrize("case", [Case("lora", {"rank": 4}), Case("prompt_tuning")], ids=str)
def test_a_full_context_is_answered(
    absolute: Path, tiny_dataset: Path, tmp_path: Path, case: Case
) -> None:
    run = context(case, tmp_path, absolute, tiny_dataset)
    before = tuning(case, run).params.tokens_before
    made = tuning(case, run, max_length=POSITIONS - before)
    model = made.attach(made.load_base(run)).eval()
    assert positions_of(model, made.params) == made.params.max_length
    full = tuple(range(3, 3 + 200)) * 2
    asked = [Question(Example((), "x"), full[: made.params.max_length], 3)]
    assert len(made.ask(model, load_tokenizer(absolute), asked, "cpu")) == 1
    prompts, new = with_room(model, made.params, [asked[0].prompt], NEW_TOKENS)
    assert len(prompts[0]) + new + before == POSITIONS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("labs.common.latency.GENERATIONS", 1)
        measure_latency(model, prompts, "cpu")


def test_short_prompts_stay_whole_and_long_answers_get_half(absolute: Path) -> None:
    model, params = load_model(absolute, "cpu"), TrainingParams()
    assert with_room(model, params, [(1, 2, 3)], 52) == ([(1, 2, 3)], 52)
    prompts, new = with_room(model, params, [tuple(range(300))], 400)
    assert (len(prompts[0]), new) == (POSITIONS // 2, POSITIONS // 2)
    assert prompts[0][-1] == 299
