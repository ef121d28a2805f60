"""What the parts of the serve lab promise, without any server."""

import contextlib
import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labs import registry
from labs.common.loading import load_tokenizer
from labs.compression.serve.asked import Asked
from labs.compression.serve.engines.decoding import Decoder
from labs.compression.serve.engines.torch_engine import choose
from labs.compression.serve.figures import Level, Timing, percentile
from labs.compression.serve.lease import Lease
from labs.compression.serve.load import prompts_of
from labs.compression.serve.protocol import Refused, read_chat, read_completion
from labs.compression.serve.spec import LAB, ServeParams, cache_bytes, refuse
from labs.compression.serve.stops import StopCutter
from labs.contract import Json
from labs.models import read_facts
from tests.labs.serving import base

HELLO: Json = {"messages": [{"role": "user", "content": "Hello"}]}


def cut(text: str, stops: list[str]) -> str:
    """Letter by letter: up to the stop that is complete first, of several the longest."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(
    st.lists(st.text("abc", max_size=4), max_size=8),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=3),
)
def test_stop_sequences_cut_at_the_same_place_whatever_the_pieces(
    pieces: list[str], stops: list[str]
) -> None:
    cutter = StopCutter(stops)
    shown = "".join(cutter.put(piece) for piece in pieces) + cutter.rest()
    assert shown == cut("".join(pieces), stops)
    assert cutter.stopped == (any(stop in "".join(pieces) for stop in stops))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 1))
def test_percentiles_are_numpys(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(np.quantile(values, share)))


@given(st.integers(1, 8), st.lists(st.floats(0.1, 5), min_size=1, max_size=12))
def test_clients_that_never_pause_obey_littles_law(clients: int, seconds: list[float]) -> None:
    """Rate times mean time is how many are under way: all clients, when none of them pauses."""
    ends = np.cumsum([0.0, *seconds])
    timings = [
        Timing(float(a), (float(b),), 1, float(b))
        for a, b in pairwise(ends)
        for _ in range(clients)
    ]
    level = Level(clients, float(ends[-1]), tuple(timings), errors=0)
    assert level.mean_under_way == pytest.approx(clients)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2047), max_size=24), st.text("漢字教室a ", max_size=6))
def test_tokens_one_by_one_give_the_text_of_all(ids: list[int], text: str) -> None:
    tokenizer = load_tokenizer(base())
    everything = [*ids, *tokenizer(text, add_special_tokens=False).input_ids]
    decoder = Decoder(tokenizer)
    shown = "".join(decoder.put(token) for token in everything) + decoder.rest()
    assert shown == tokenizer.decode(everything, skip_special_tokens=True)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20), st.floats(0, 1), st.integers(0, 99))
def test_a_drawn_token_lies_in_the_nucleus(logits: list[float], top_p: float, seed: int) -> None:
    asked = Asked((1,), 1, temperature=1.0, top_p=top_p)
    given = torch.tensor(logits)
    drawn = choose(given, asked, torch.Generator().manual_seed(seed))
    share = given.softmax(0)
    assert float(share[share > share[drawn]].sum()) <= top_p + 1e-6
    assert choose(given, dataclasses.replace(asked, temperature=0.0), None) == int(given.argmax())


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=9), min_size=1), st.integers(1, 20)
)
def test_prompts_of_a_load_test_are_equally_long(rows: list[list[int]], length: int) -> None:
    prompts = prompts_of(rows, length, 8)
    assert [len(prompt) for prompt in prompts] == [length] * 8


def test_an_endpoint_closes_when_nobody_needs_it() -> None:
    now = [100.0]
    lease = Lease(wait=30, idle=600, longest=3600, clock=lambda: now[0])
    assert lease.status().closes_in_seconds is None
    lease.enter("open")
    assert lease.status().closes_in_seconds == 30
    now[0] += 20
    lease.begin()
    assert lease.status().closes_in_seconds == 3580
    now[0] += 100
    lease.end(7, 3)
    status = lease.status()
    assert (status.closes_in_seconds, status.requests) == (600, 1)
    assert (status.prompt_tokens, status.completion_tokens) == (7, 3)
    lease.extend(1000)
    assert lease.status().closes_in_seconds == 1000
    lease.extend(100_000)
    assert lease.status().closes_in_seconds == 3480, "never beyond the longest time"
    lease.close()
    lease.enter("open")
    assert (lease.state, lease.status().closes_in_seconds) == ("closed", 0)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({**HELLO, "n": 2}, "n"),
        ({**HELLO, "tools": [{"type": "function"}]}, "tools"),
        ({**HELLO, "logprobs": True}, "logprobs"),
        ({**HELLO, "response_format": {"type": "json_object"}}, "response_format"),
        ({**HELLO, "temperature": 3}, "temperature"),
        ({**HELLO, "temperature": True}, "temperature"),
        ({**HELLO, "top_p": -1}, "top_p"),
        ({**HELLO, "max_tokens": 0}, "max_tokens"),
        ({**HELLO, "max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({**HELLO, "stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({**HELLO, "stop": [""]}, "stop"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({**HELLO, "beam_width": 4}, "beam_width"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(body: Json, param: str) -> None:
    with pytest.raises(Refused) as refused:
        read_chat(body)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_what_asks_for_nothing_is_passed_over() -> None:
    wanted = read_chat({**HELLO, "n": 1, "tools": [], "user": "x", "seed": None, "stop": "END"})
    assert (wanted.temperature, wanted.max_tokens, wanted.stop) == (1.0, None, ("END",))
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": " two"}]
    told = read_chat({"messages": [{"role": "developer", "content": parts}]}).messages
    assert told
    assert (told[0].role, told[0].content) == ("system", "one two")
    assert read_completion({"prompt": [[1, 2]]}).prompt == (1, 2)
    assert read_completion({"prompt": ["text"]}).max_tokens == 16


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists))
def test_any_json_is_read_or_refused(value: object) -> None:
    for name in ("messages", "prompt", "stop", "seed", "temperature", "stream_options", "n"):
        with contextlib.suppress(Refused):
            read_chat({**HELLO, name: value})
        with contextlib.suppress(Refused):
            read_completion({"prompt": "x", name: value})


def test_what_cannot_be_served_is_refused_before_the_queue() -> None:
    facts = read_facts(base())
    assert refuse(facts, ServeParams()) is None
    assert refuse(facts, ServeParams(engine="llama_cpp")) is None
    long = refuse(facts, ServeParams(context_length=4096))
    assert long is not None
    assert long.parameter == "context_length"
    asked = refuse(facts, ServeParams(prompt_tokens=1000, output_tokens=100))
    assert asked is not None
    assert asked.parameter == "prompt_tokens"
    stored = dataclasses.replace(facts, quantization="gptq")
    assert refuse(stored, ServeParams(engine="llama_cpp")) is not None
    assert refuse(stored, ServeParams()) is None
    assert "quantized" in LAB.accepts.parents


def test_concurrency_levels_are_numbers_in_order() -> None:
    assert ServeParams.model_validate({"concurrency": "4, 1 2 2"}).concurrency == (1, 2, 4)
    for wrong in ("0 1", "65", "many", ""):
        with pytest.raises(ValueError, match="concurrency"):
            ServeParams.model_validate({"concurrency": wrong})


def test_the_theory_states_the_numbers_that_the_formulas_give() -> None:
    facts = read_facts(base())
    one = cache_bytes(facts, 1, 4)
    grouped = 2 * 32 * 8 * 128 * 2
    numbers = (
        f"{one:,} bytes",
        f"{one * 1024 / 2**20:g} MiB",
        f"{grouped // 1024} KiB",
        f"{grouped * 4096 / 2**20:g} MiB",
        f"{14e9 / 1e12 * 1000:g} ms",
        f"{1000 / 14:.0f} tokens per second",
        f"{0.2 + 99 * 0.02:.2f} s",
        f"{4 / 2.5:g}",
    )
    for language in ("", ".zh-Hant"):
        text = (registry.folder(LAB) / f"theory{language}.md").read_text(encoding="utf-8")
        for number in numbers:
            # Units that are words differ between languages.
            figure = number.removesuffix(" tokens per second").removesuffix(" bytes")
            assert (figure if language else number) in text, (language, number)
