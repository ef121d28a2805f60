"""What the labs on compression share: text in blocks, perplexity, judging, estimates."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labs import bundled
from labs.common import latency
from labs.common.data import Question
from labs.common.evaluation import perplexity
from labs.common.loading import load_model, load_tokenizer
from labs.compression.common import throughput
from labs.compression.common.calibration import calibration_blocks, token_stream
from labs.compression.common.change import flips, is_visible
from labs.compression.common.costs import compression_parts
from labs.compression.common.params import CompressionParams
from labs.compression.common.perplexity import stream_loss
from labs.compression.common.quality import exam, judge, metrics_of, plain
from labs.compression.common.texts import evaluation_stream
from labs.compression.common.throughput import measure_throughput
from labs.compression.quantization.spec import LAB, QuantizationParams
from labs.contract import BadData
from labs.datasets import Example, read_splits
from labs.estimate import estimate
from labs.models import read_facts
from tests.labs.compressions import SMALL, compression_spec
from tests.labs.runs import make_context
from tests.labs.tiny import make_network

BASE = read_facts(bundled.models()["base"])
tokens = st.lists(st.integers(3, 258), min_size=2, max_size=40)


def direct_loss(stream: Tensor, window: int, stride: int) -> float:
    """Each token predicted alone, from all that stands before it in the first window that ends behind it."""
    network, losses, begin = make_network(), [], 0
    reached = 1
    with torch.inference_mode():
        while True:
            end = min(begin + window, len(stream))
            for place in range(max(reached, begin + 1), end):
                said = network(stream[begin:place].unsqueeze(0)).logits[0, -1]
                losses.append(-float(said.log_softmax(-1)[stream[place]]))
            reached = end
            if end == len(stream):
                return sum(losses) / len(losses)
            begin += stride


@settings(deadline=None, max_examples=8)
@given(tokens, st.integers(8, 16), st.integers(1, 16))
def test_perplexity_is_what_a_direct_computation_gives(
    ids: list[int], window: int, stride: int
) -> None:
    stream, stride = torch.tensor(ids), min(window, stride)
    found = stream_loss(make_network(), stream, window, stride, "cpu")
    assert found == pytest.approx(direct_loss(stream, window, stride), rel=1e-5)


def test_perplexity_of_nothing_is_refused_and_of_too_much_is_infinite() -> None:
    with pytest.raises(BadData, match="fewer than two tokens"):
        stream_loss(make_network(), torch.tensor([5]), 8, 8, "cpu")
    assert perplexity(1000.0) == math.inf


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 50), st.integers(8, 64), st.integers(0, 9))
def test_blocks_are_whole_pieces_of_the_text_without_overlap_or_padding(
    tiny_blocks: tuple[Path, Path], samples: int, length: int, seed: int
) -> None:
    tokenizer = load_tokenizer(tiny_blocks[0])
    rows = read_splits(tiny_blocks[1]).train
    stream = token_stream(tokenizer, rows)
    blocks = calibration_blocks(tokenizer, rows, samples, length, seed)
    assert blocks.shape == (min(samples, len(stream) // length), length)
    pieces = stream[: len(stream) // length * length].view(-1, length).tolist()
    assert not Counter(map(tuple, blocks.tolist())) - Counter(map(tuple, pieces))
    assert tokenizer.pad_token_id not in blocks
    again = calibration_blocks(tokenizer, rows, samples, length, seed)
    assert torch.equal(blocks, again)


@pytest.fixture(scope="session")
def tiny_blocks(tiny_model: Path, tiny_dataset: Path) -> tuple[Path, Path]:
    return tiny_model, tiny_dataset


def test_text_shorter_than_a_block_is_refused_with_what_would_do(tiny_model: Path) -> None:
    with pytest.raises(BadData, match="fewer than one block of 512") as refused:
        calibration_blocks(load_tokenizer(tiny_model), [Example((), "short")], 1, 512, 0)
    assert refused.value.parameter == "calibration_length"


def test_running_text_alone_is_judged_without_answers(tiny_model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    rows = (json.dumps({"text": f"Row {i} says that {i} and {i + 1} are two."}) for i in range(60))
    text.write_text("\n".join(rows) + "\n")
    run = make_context(tmp_path / "run", compression_spec("quantization", tiny_model, text, {}))
    params = CompressionParams.model_validate(SMALL)
    asked = exam(run, params)
    assert asked.questions == ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "GENERATIONS", 1)
        patch.setattr(latency, "WARMUP", 0)
        patch.setattr(throughput, "REPEATS", 1)
        shares: list[float] = []
        found = judge(
            run, params, plain(run, params, tiny_model), asked, lambda s, note: shares.append(s)
        )
    assert (found.accuracy, list(found.answers)) == (None, [])
    assert "test/accuracy" not in metrics_of(found, found)
    assert shares == sorted(shares)
    stream = asked.stream
    assert found.loss == pytest.approx(
        stream_loss(load_model(tiny_model, "cpu"), stream, 32, 32, "cpu")
    )
    assert found.bytes_on_disk == (tiny_model / "model.safetensors").stat().st_size


def test_throughput_asks_prompts_of_one_length_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = make_network()
    shapes: list[tuple[int, ...]] = []

    def generate(input_ids: Tensor, attention_mask: Tensor, **asked: int) -> None:
        assert bool(attention_mask.all())
        assert asked["min_new_tokens"] == asked["max_new_tokens"]
        shapes.append(tuple(input_ids.shape))

    monkeypatch.setattr(network, "generate", generate)
    found = measure_throughput(network, torch.arange(3, 100), "cpu", sizes=(1, 7))
    assert list(found) == [1, 7]
    times = throughput.WARMUP + throughput.REPEATS
    assert shapes == [(1, 32)] * times + [(7, 32)] * times


def test_answers_that_flip_are_counted_both_ways() -> None:
    questions = [Question(Example((), answer), (), 1) for answer in "abcd"]
    assert flips(questions, ["a", "b", "x", "x"], ["a", "x", "c", "x"]) == (1, 1)
    assert not is_visible(3, 3)
    assert not is_visible(2, 0)
    assert is_visible(10, 1)


compression = st.builds(
    QuantizationParams,
    bits=st.sampled_from([2, 3, 4, 8]),
    method=st.sampled_from(["rtn", "gptq", "awq"]),
    group_size=st.sampled_from([32, 64, 128, "channel"]),
    calibration_samples=st.integers(1, 512),
    calibration_length=st.integers(8, 512),
    evaluation_window=st.integers(128, 512),
    precision=st.sampled_from(["fp32", "bf16"]),
)


@settings(deadline=None)
@given(compression, st.sampled_from(["cpu", "cuda"]))
def test_estimates_of_a_compression_hold_together(params: QuantizationParams, device: str) -> None:
    found = estimate(LAB, BASE, params, device)  # type: ignore[arg-type]  # a str of the two
    assert min(found.parts.values()) >= 0
    assert {"weights", "calibration", "observed", "integers", "library"} <= set(found.parts)
    assert 0 < found.seconds_low < found.seconds_high
    more = params.model_copy(update={"calibration_samples": params.calibration_samples + 1})
    assert estimate(LAB, BASE, more, device).total_bytes >= found.total_bytes  # type: ignore[arg-type]
    assert estimate(LAB, BASE, more, device).seconds_high > found.seconds_high  # type: ignore[arg-type]


def test_fewer_bits_leave_less_and_a_lab_without_parts_of_its_own_leaves_a_model() -> None:
    left = [QuantizationParams(bits=b, gguf="none").left_bytes(BASE) for b in (2, 3, 4, 8)]
    assert left == sorted(left)
    assert left[-1] < BASE.bytes == CompressionParams().left_bytes(BASE)
    parts = compression_parts(BASE, CompressionParams(), 0, "cpu")
    assert parts["weights"] == BASE.bytes


def test_a_text_without_anything_to_predict_is_told_before_a_model_is_compressed(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "one.jsonl"
    rows.write_text('{"text": "one row, which trains"}\n', encoding="utf-8")
    run = make_context(tmp_path / "run", compression_spec("quantization", tiny_model, rows, {}))
    with pytest.raises(BadData, match="fewer than two tokens"):
        evaluation_stream(run, CompressionParams(**SMALL), load_tokenizer(tiny_model))
