"""The real lab: a served model from the queue to its end, asked by OpenAI's client with a key."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.support.server import Server

PATIENCE_SECONDS = 90
SERVED = {
    "lab": "serve", "name": "served for a client",
    "params": {"concurrency": [1], "level_seconds": 0.5, "output_tokens": 4, "wait_seconds": 600},
}  # fmt: skip


def until(found: Callable[[], dict[str, Any]], wanted: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := found())["state"] != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)
    return seen


@pytest.mark.slow
def test_a_served_model_answers_and_its_run_ends_when_it_is_closed(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.new_token('student1')}"}
    with httpx2.Client(base_url=f"{server.base_url}/api/v1", headers=headers) as api:
        run = f"/runs/{api.post('/runs', json=SERVED).json()['id']}"
        endpoint = f"{run}/endpoint"
        key = api.post(f"{endpoint}/keys").json()
        told = until(lambda: api.get(endpoint).json(), "open")
        with OpenAI(base_url=key["base_url"], api_key=key["key"], max_retries=0) as client:
            asked: Any = {
                "model": told["model"], "max_tokens": 8, "temperature": 0,
                "messages": [{"role": "user", "content": "My printer burns."}],
            }  # fmt: skip
            whole = client.chat.completions.create(**asked)
            chunks = client.chat.completions.create(stream=True, **asked)
            words = [chunk.choices[0].delta.content or "" for chunk in chunks]
        assert "".join(words) == whole.choices[0].message.content != ""
        assert api.post(f"{endpoint}/extension").json()["state"] == "open"
        assert api.post(f"{endpoint}/closing").status_code == 202
        until(lambda: api.get(run).json(), "succeeded")
        assert api.get(endpoint).json()["state"] == "closed"
        used = api.get(f"{endpoint}/keys").json()["keys"][0]
    assert whole.usage is not None
    assert used["requests"] == 2
    assert used["completion_tokens"] == 2 * whole.usage.completion_tokens
