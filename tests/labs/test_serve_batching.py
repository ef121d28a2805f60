"""Continuous batching changes nothing: rows that join and leave get what each gets alone."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from labs.compression.serve.asked import Asked, EngineFailed, Piece
from labs.compression.serve.engines.torch_engine import TorchEngine
from tests.labs.families import FAMILIES, SMALL
from tests.labs.tiny import make_network, make_tokenizer

# Of all lengths, more than there are places; answers end one after the other.
PROMPTS = [tuple(range(3, 3 + length)) for length in (1, 40, 5, 23, 12)]


def _sliding() -> PreTrainedModel:
    """Keys and values beyond a window are dropped: rows of it cannot stand side by side."""
    make: Any = MistralForCausalLM
    config = MistralConfig(**SMALL, num_key_value_heads=2, intermediate_size=128, sliding_window=8)
    made: PreTrainedModel = make(config).eval()
    return made


MODELS = {**FAMILIES, "sliding window": _sliding}


def pieces(engine: TorchEngine, asked: Asked) -> list[Piece]:
    told: list[Piece] = []
    engine.answer(asked, told.append)
    return told


@pytest.mark.parametrize("family", MODELS)
def test_rows_of_a_batch_get_the_tokens_that_generate_gives_alone(family: str) -> None:
    torch.manual_seed(0)
    model, tokenizer = MODELS[family](), make_tokenizer()
    wanted = [Asked(prompt, 4 + 3 * i, ignore_end=True) for i, prompt in enumerate(PROMPTS)]
    expected = []
    for asked in wanted:
        made: Any = model.generate(  # type: ignore[operator]
            torch.tensor([asked.prompt]),
            max_new_tokens=asked.max_tokens,
            min_new_tokens=asked.max_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        expected.append(tokenizer.decode(made[0, len(asked.prompt) :], skip_special_tokens=True))
    engine = TorchEngine(model, tokenizer, "cpu", slots=3)
    try:
        with ThreadPoolExecutor(len(wanted)) as pool:
            answers = list(pool.map(lambda asked: pieces(engine, asked), wanted))
    finally:
        engine.close()
    assert ["".join(piece.text for piece in answer) for answer in answers] == expected
    assert [answer[-1] for answer in answers] == [
        Piece(answer[-1].text, asked.max_tokens, "length")
        for answer, asked in zip(answers, wanted, strict=True)
    ]


def test_a_prompt_that_fails_leaves_the_others_alone() -> None:
    engine = TorchEngine(make_network(), make_tokenizer(), "cpu", slots=2)
    try:
        with pytest.raises(EngineFailed):
            pieces(engine, Asked((99_999,), 2))
        assert pieces(engine, Asked((5, 6), 2, ignore_end=True))[-1].finish == "length"
    finally:
        engine.close()
    assert pieces(engine, Asked((5, 6), 2)) == [], "a closed engine answers nothing"
