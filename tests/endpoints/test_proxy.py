"""OpenAI's own client through the real application to a trainer's server."""

import json
import logging
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import openai
import pytest
from openai import OpenAI
from sqlalchemy import select
from starlette.responses import HTMLResponse, JSONResponse
from starlette.testclient import TestClient

from app.accounts import people
from app.database import reading, transaction
from app.endpoints import keys, pace
from app.endpoints.refusals import TooFast
from app.models import EndpointKey, RunState, User
from app.runs import queries
from app.settings import get_settings
from tests.endpoints.front import SECRET, USAGE, WORDS, FakeFront, end, open_at, say, serving
from tests.support.site import Site

TEXT = "".join(WORDS)
ASKED: Any = {"model": "tuned", "messages": [{"role": "user", "content": "Is it wet?"}]}


def new_key(site: Site, run_id: UUID, who: str = "sam") -> str:
    with transaction() as session:
        actor = site.people[who]
        return keys.make(session, actor, queries.get_run(session, actor, run_id))[1]


def client_of(url: str, run_id: UUID, key: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/serve/{run_id}/v1", api_key=key, max_retries=0, timeout=20)


def row_of(run_id: UUID) -> EndpointKey:
    with reading() as session:
        return session.scalars(select(EndpointKey).where(EndpointKey.run_id == run_id)).one()


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def run_id(site: Site, front: FakeFront) -> UUID:
    made = serving(site)
    open_at(made, front)
    return made


def test_the_openai_client_lists_chats_and_completes(
    site: Site, url: str, front: FakeFront, run_id: UUID
) -> None:
    with client_of(url, run_id, new_key(site, run_id)) as client:
        assert [model.id for model in client.models.list()] == ["tuned"]
        chat = client.chat.completions.create(**ASKED)
        assert chat.choices[0].message.content == TEXT
        assert chat.usage is not None
        assert chat.usage.completion_tokens == 3
        text = client.completions.create(model="tuned", prompt="Water")
        assert text.choices[0].text == TEXT
        stream = client.completions.create(model="tuned", prompt="Water", stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == TEXT
    assert front.asked[0] == ASKED
    until(lambda: row_of(run_id).requests == 4)
    row = row_of(run_id)
    assert (row.prompt_tokens, row.completion_tokens) == (3 * 7, 3 * 3)
    assert row.last_used_at is not None


def test_words_arrive_one_by_one(site: Site, url: str, front: FakeFront, run_id: UUID) -> None:
    """The front says its next word only after the client has got the last one."""
    front.waits = True
    with client_of(url, run_id, new_key(site, run_id)) as client:
        front.step.release()
        got = []
        for chunk in client.chat.completions.create(stream=True, **ASKED):
            got.append(chunk.choices[0].delta.content)
            front.step.release()
        assert tuple(got) == WORDS
    until(lambda: row_of(run_id).completion_tokens == USAGE["completion_tokens"])


def test_who_hangs_up_takes_the_stream_away_from_the_trainer(
    site: Site, url: str, front: FakeFront, run_id: UUID
) -> None:
    front.waits = True
    front.step.release()
    with client_of(url, run_id, new_key(site, run_id)) as client:
        with client.chat.completions.create(stream=True, **ASKED) as stream:
            assert next(stream).choices[0].delta.content == WORDS[0]
        assert front.was_left.wait(10)


def test_who_hangs_up_before_the_first_byte_does_so_too(
    site: Site, url: str, front: FakeFront, run_id: UUID
) -> None:
    front.waits = True
    body = json.dumps(ASKED).encode()
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as line:
        head = f"POST /serve/{run_id}/v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
        key = f"Authorization: Bearer {new_key(site, run_id)}\r\n"
        line.sendall(f"{head}{key}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert front.was_asked.wait(10)
    assert front.was_left.wait(10)


def test_a_trainer_that_dies_in_the_middle_is_told_as_an_error(
    site: Site, url: str, front: FakeFront, run_id: UUID
) -> None:
    front.dies = True
    with client_of(url, run_id, new_key(site, run_id)) as client:
        stream = client.chat.completions.create(stream=True, **ASKED)
        assert next(stream).choices[0].delta.content == WORDS[0]
        with pytest.raises(openai.APIError, match="broke off"):
            next(stream)


def caller(site: Site, key: str = "") -> TestClient:
    client = site.client()
    client.headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client


def refused(answer: Any, status: int, code: str | None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["message"]
    return error


def chat(client: TestClient, run_id: UUID, **more: Any) -> Any:
    return client.post(f"/serve/{run_id}/v1/chat/completions", json={**ASKED, **more})


def test_only_a_living_key_opens_anything(site: Site, front: FakeFront, run_id: UUID) -> None:
    key = new_key(site, run_id)
    assert chat(caller(site, key), run_id).status_code == 200
    refused(chat(caller(site), run_id), 401, "invalid_api_key")
    refused(chat(caller(site, "bsk_nothing"), run_id), 401, "invalid_api_key")
    refused(chat(caller(site, site.token("sam")), run_id), 401, "invalid_api_key")
    # A cookie is no authority here, whichever page the request comes from.
    for origin in ("http://bunsen.test", "https://evil.test"):
        signed_in = site.client("sam", Origin=origin)
        refused(chat(signed_in, run_id), 401, "invalid_api_key")
        assert "access-control-allow-origin" not in chat(signed_in, run_id).headers
    with transaction() as session:
        sam = site.people["sam"]
        keys.revoke(session, sam, queries.get_run(session, sam, run_id), row_of(run_id).id)
    refused(chat(caller(site, key), run_id), 401, "invalid_api_key")


def test_a_key_is_for_one_run_and_while_its_person_may_see_it(
    site: Site, front: FakeFront, run_id: UUID
) -> None:
    other = serving(site, "tess")
    open_at(other, front)
    marias = new_key(site, run_id, "maria")
    refused(chat(caller(site, new_key(site, other, "tess")), run_id), 404, "endpoint_not_found")
    refused(chat(caller(site, marias), UUID(int=0)), 404, "endpoint_not_found")
    assert chat(caller(site, marias), run_id).status_code == 200
    with transaction() as session:
        session.get_one(User, site.people["maria"].id).role = site.people["sam"].role
    refused(chat(caller(site, marias), run_id), 404, "endpoint_not_found")
    sams = new_key(site, run_id)
    with transaction() as session:
        people.disable(session, session.get_one(User, site.people["sam"].id))
    refused(chat(caller(site, sams), run_id), 401, "invalid_api_key")


def test_what_is_not_open_says_so(site: Site, front: FakeFront) -> None:
    waiting = serving(site, state=RunState.QUEUED)
    told = refused(chat(caller(site, new_key(site, waiting)), waiting), 409, "endpoint_not_open")
    assert "queue" in told["message"]
    run_id = serving(site)
    client = caller(site, new_key(site, run_id))
    assert "prepared" in refused(chat(client, run_id), 409, "endpoint_not_open")["message"]
    for state in ("starting", "testing"):
        say(run_id, state)
        answer = chat(client, run_id)
        refused(answer, 503, "endpoint_not_open")
        assert answer.headers["retry-after"].isdecimal()
    open_at(run_id, front, address="http://127.0.0.1:1025")
    refused(chat(client, run_id), 503, "endpoint_unreachable")
    end(run_id)
    assert "closed" in refused(chat(client, run_id), 409, "endpoint_not_open")["message"]


def test_wrong_addresses_bodies_and_methods_are_answered_in_the_same_shape(
    site: Site, front: FakeFront, run_id: UUID
) -> None:
    client = caller(site, new_key(site, run_id))
    for path in ("nothing/v1/models", f"{run_id}/v1/embeddings", f"{run_id}/v2/models"):
        refused(client.get(f"/serve/{path}"), 404, None)
    refused(client.get(f"/serve/{run_id}/v1/completions"), 405, None)
    large = chat(client, run_id, padding="x" * 2_000_000)
    refused(large, 413, None)
    pieces = iter([b"x" * 65_536] * 20)
    refused(client.post(f"/serve/{run_id}/v1/completions", content=pieces), 413, None)
    assert front.asked == []


def test_what_the_trainer_answers_is_passed_on_and_never_trusted(
    site: Site, front: FakeFront, run_id: UUID
) -> None:
    client = caller(site, new_key(site, run_id))
    error = {"message": "no such model", "type": "x", "param": "model", "code": "model_not_found"}
    front.answer = JSONResponse(
        {"error": error}, 404, {"Set-Cookie": "session=x", "Access-Control-Allow-Origin": "*"}
    )
    answer = chat(client, run_id)
    assert (answer.status_code, answer.json()["error"]) == (404, error)
    assert "set-cookie" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers
    front.answer = JSONResponse({"error": error}, 503, {"Retry-After": "7"})
    assert chat(client, run_id).headers["retry-after"] == "7"
    front.answer = JSONResponse({"error": error}, 500)
    assert chat(client, run_id).status_code == 502
    for wrong in (HTMLResponse("<script>"), JSONResponse({}, 401), JSONResponse({}, 302)):
        front.answer = wrong
        refused(chat(client, run_id), 502, "endpoint_broken")
    assert row_of(run_id).requests == 0
    assert all("cookie" not in each for each in front.headers)


def test_neither_key_nor_secret_stands_anywhere(
    site: Site, front: FakeFront, run_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = new_key(site, run_id)
    client = caller(site, key)
    assert chat(client, run_id).status_code == 200
    open_at(run_id, front, address="http://127.0.0.1:1025")
    refused(chat(client, run_id), 503, "endpoint_unreachable")
    log = "\n".join(f"{each.getMessage()} {each.args} {each.exc_text}" for each in caplog.records)
    assert str(run_id) not in key
    for secret in (key, SECRET):
        assert secret not in log
    kept = b"".join(path.read_bytes() for path in get_settings().home.glob("bunsen.db*"))
    assert key.encode() not in kept
    assert row_of(run_id).key_sha256.encode() in kept


def test_one_key_may_not_flood_a_trainer(site: Site, front: FakeFront, run_id: UUID) -> None:
    ticks = [0.0]
    paced = pace.Pace(lambda: ticks[0])
    asker, other = run_id, UUID(int=1)
    for _ in range(pace.PER_MINUTE):
        with paced.turn(asker):
            pass
    with pytest.raises(TooFast), paced.turn(asker):
        pass
    with paced.turn(other):
        pass
    ticks[0] += pace.MINUTE_SECONDS / pace.PER_MINUTE
    with paced.turn(asker):
        pass
    ticks[0] += pace.MINUTE_SECONDS
    held = [paced.turn(asker) for _ in range(pace.AT_ONCE)]
    for each in held:
        each.__enter__()
    with pytest.raises(TooFast, match="at once"), paced.turn(asker):
        pass
    for each in held:
        each.__exit__(None, None, None)
    with paced.turn(asker):
        pass
