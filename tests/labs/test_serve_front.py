"""The endpoint as its clients see it: OpenAI's own client against each engine."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from labs import bundled
from labs.common.data import prepare
from labs.common.formatting import encode_prompt
from labs.common.generation import answers
from labs.common.loading import load_model, load_tokenizer
from labs.compression.serve.asked import Asked, Engine, Piece
from labs.contract import Json
from tests.labs.serving import MODEL, TEST_SECRET, Serving, base, in_llama, in_torch, serving

ENDLESS = {"prompt": "The", "max_tokens": 256, "temperature": 0, "ignore_eos": True}


@pytest.fixture(params=["transformers", "llama_cpp"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return in_torch() if request.param == "transformers" else in_llama(tmp_path)


def events(reply: httpx.Response) -> Iterator[str]:
    for line in reply.iter_lines():
        if line:
            yield line


def test_a_chat_gives_what_the_lab_generates_and_counts_its_tokens(engine: Engine) -> None:
    tokenizer = load_tokenizer(base())
    asked = prepare(bundled.datasets()["desk"], tokenizer, 256).test_questions[:4]
    expected = answers(
        load_model(base(), "cpu"), tokenizer, [q.prompt for q in asked], 48, "cpu", 1
    )
    with serving(engine) as served, served.client() as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        assert client.models.retrieve(MODEL).owned_by == "bunsen"
        for question, answer in zip(asked, expected, strict=True):
            turns = [{"role": m.role, "content": m.content} for m in question.example.prompt]
            said = client.chat.completions.create(model=MODEL, messages=turns, temperature=0)  # type: ignore[arg-type]
            choice = said.choices[0]
            assert (choice.message.content or "").strip() == answer
            assert choice.finish_reason == "stop"
            assert said.usage
            assert said.usage.prompt_tokens == len(
                encode_prompt(tokenizer, question.example.prompt)
            )
            made = tokenizer(choice.message.content, add_special_tokens=False).input_ids
            assert said.usage.completion_tokens == len(made) + 1, "the answer and its end token"
        status = served.lease.status()
    assert (status.requests, status.active) == (4, 0)


def test_a_stream_says_the_same_in_pieces(engine: Engine) -> None:
    turns = [{"role": "user", "content": "教室的影印機用完了。Which room?"}]
    with serving(engine) as served, served.client() as client:
        wanted = {"model": MODEL, "messages": turns, "temperature": 0, "max_tokens": 24}
        whole = client.chat.completions.create(**wanted)  # type: ignore[call-overload]
        stream = client.chat.completions.create(  # type: ignore[call-overload]
            **wanted, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        raw = httpx.post(
            f"{served.address}/v1/chat/completions",
            headers=served.headers,
            json={**wanted, "stream": True},
        )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    lines = [line for line in raw.text.splitlines() if line]
    counted = {
        "prompt_tokens": whole.usage.prompt_tokens,
        "completion_tokens": whole.usage.completion_tokens,
    }
    assert lines[-2:] == [f": usage {json.dumps(counted)}", "data: [DONE]"]
    assert '"usage"' not in "".join(lines[:-2]), "usage was not asked for"


def test_an_answer_ends_at_a_stop_sequence_or_at_its_length(engine: Engine) -> None:
    endless = {**ENDLESS, "max_tokens": 24}
    with serving(engine) as served:

        def ask(**more: str) -> Json:
            reply = httpx.post(
                f"{served.address}/v1/completions",
                json={"model": MODEL, **endless, **more},
                headers=served.headers,
            )
            answer: Json = reply.json()
            return answer

        long = ask()
        text, stop = long["choices"][0]["text"], long["choices"][0]["text"][6:9]
        short = ask(stop=stop)
    assert long["choices"][0]["finish_reason"] == "length"
    assert long["usage"]["completion_tokens"] == 24
    assert short["choices"][0]["text"] == text[: text.index(stop)]
    assert short["choices"][0]["finish_reason"] == "stop"
    assert short["usage"]["completion_tokens"] < 24, "what nobody sees is not computed"


def test_many_at_once_get_what_each_gets_alone(engine: Engine) -> None:
    """More than there are slots, of all lengths; and a seed draws the same in any company."""
    prompts = ["The", "This is Noah in room 845.", "Hello, Sam here. " * 6, "教室", "a", "Room 5"]

    def ask(place: int) -> tuple[str, str]:
        drawn = {"temperature": 1.0, "top_p": 0.9, "seed": place}
        common = {"model": MODEL, "prompt": prompts[place], "max_tokens": 4 + 2 * place}
        greedy = client.completions.create(**common, temperature=0)  # type: ignore[call-overload]
        random = client.completions.create(**common, **drawn)  # type: ignore[call-overload]
        return greedy.choices[0].text, random.choices[0].text

    with serving(engine) as served, served.client() as client:
        alone = [ask(place) for place in range(len(prompts))]
        with ThreadPoolExecutor(len(prompts)) as pool:
            together = list(pool.map(ask, range(len(prompts))))
    assert together == alone


def test_errors_are_those_that_openais_client_knows() -> None:
    with serving(in_torch(), max_new_tokens=64) as served, served.client() as client:
        url = f"{served.address}/v1/chat/completions"
        hello = [{"role": "user", "content": "Hello"}]
        with served.client("guessed") as stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        assert httpx.get(f"{served.address}/bunsen/status").status_code == 401
        with pytest.raises(openai.NotFoundError, match="There is no model"):
            client.chat.completions.create(model="gpt-4", messages=hello)  # type: ignore[arg-type]
        with pytest.raises(openai.BadRequestError, match="context has 512") as long:
            client.completions.create(model=MODEL, prompt="word " * 600)
        assert long.value.code == "context_length_exceeded"
        with pytest.raises(openai.BadRequestError, match="At most 64"):
            client.completions.create(model=MODEL, prompt="x", max_tokens=65)
        with pytest.raises(openai.BadRequestError, match="knows ids below"):
            client.completions.create(model=MODEL, prompt=[999_999])
        with pytest.raises(openai.BadRequestError, match="is empty"):
            client.completions.create(model=MODEL, prompt="")
        unknown: Any = {"messages": hello, "tools": [{"type": "x"}]}
        with pytest.raises(openai.BadRequestError) as tools:
            client.chat.completions.create(model=MODEL, **unknown)
        assert (tools.value.param, tools.value.code) == ("tools", "unsupported_parameter")
        for body, status in (
            (b"{", 400),
            (b"[]", 400),
            (b"[" * 9000, 400),
            (b" " * (2 << 20), 413),
        ):
            reply = httpx.post(url, content=body, headers=served.headers)
            assert (reply.status_code, set(reply.json()["error"])) == (
                status,
                {"message", "type", "param", "code"},
            )
        assert httpx.get(url, headers=served.headers).status_code == 405
        assert httpx.get(f"{served.address}/docs", headers=served.headers).json()["error"]
        assert served.lease.status().requests == 0


def test_only_the_load_test_is_answered_while_it_runs() -> None:
    with serving(in_torch(), state="testing") as served:
        with served.client() as client, pytest.raises(openai.InternalServerError) as refused:
            client.models.list()
        assert refused.value.status_code == 503
        assert refused.value.response.headers["retry-after"]
        with served.client(TEST_SECRET) as client:
            assert client.completions.create(model=MODEL, prompt="The", max_tokens=2).usage
        assert served.lease.status().requests == 0


def test_more_than_can_wait_come_back_later() -> None:
    with serving(in_torch(), waiting=0) as served, served.client() as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model=MODEL, prompt="The")
        assert refused.value.response.headers["retry-after"]


def until_idle(served: Serving) -> int:
    """Completion tokens that were counted, once nothing is under way."""
    while True:
        status = httpx.get(f"{served.address}/bunsen/status", headers=served.headers).json()
        if status["active"] == 0:
            return int(status["completion_tokens"])


def test_a_client_that_hangs_up_stops_its_answer(engine: Engine) -> None:
    body = {"model": MODEL, **ENDLESS, "stream": True}
    with serving(engine) as served:
        url = f"{served.address}/v1/completions"
        with httpx.stream("POST", url, json=body, headers=served.headers) as reply:
            next(events(reply))
        assert 0 < until_idle(served) < 256


class Stuck:
    """An engine that says one token and then nothing more."""

    name = "stuck"

    def answer(self, asked: Asked, tell: object) -> None:
        assert callable(tell)
        tell(Piece("word", 1))
        asked.cancelled.wait()

    def memory_bytes(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is held."""


def test_closing_cuts_off_what_is_under_way_and_says_so() -> None:
    with serving(Stuck()) as served:
        url, body = f"{served.address}/v1/completions", {"model": MODEL, **ENDLESS, "stream": True}
        with httpx.stream("POST", url, json=body, headers=served.headers) as reply:
            lines = events(reply)
            assert "word" in next(lines)
            closed = httpx.post(f"{served.address}/bunsen/closing", headers=served.headers)
            assert closed.json()["state"] == "closed"
            served.front.close()
            told = list(lines)
    assert "endpoint_closed" in told[0]
    assert told[-2:] == [': usage {"prompt_tokens": 1, "completion_tokens": 1}', "data: [DONE]"]


class Broken(Stuck):
    def answer(self, asked: Asked, tell: object) -> None:
        raise RuntimeError("the device is gone; secret path /data")


def test_an_error_inside_is_an_error_that_tells_nothing_inside() -> None:
    with serving(Broken()) as served, served.client() as client:
        with pytest.raises(openai.InternalServerError, match="could not answer") as failed:
            client.completions.create(model=MODEL, prompt="The")
        assert "secret" not in str(failed.value)
        assert until_idle(served) == 0


def test_an_extension_is_a_number_of_seconds() -> None:
    with serving(Stuck()) as served:
        url = f"{served.address}/bunsen/extension"
        longer = httpx.post(url, json={"seconds": 1200}, headers=served.headers).json()
        assert 1190 < longer["closes_in_seconds"] <= 1200
        for wrong in ({}, {"seconds": "1"}, {"seconds": True}, {"seconds": -1}):
            assert httpx.post(url, json=wrong, headers=served.headers).status_code == 400
