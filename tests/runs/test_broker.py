"""The bell: what is sent, and what it costs who does not ring it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from app import broker
from app.models import new_id
from app.settings import ROOT, get_settings


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNSEN_BROKER_URL", url)
    get_settings.cache_clear()
    broker.reset()


def test_a_bell_carries_a_run_and_an_attempt_and_nothing_else(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(redis_url, monkeypatch)
    run_id = new_id()
    assert broker.ring(run_id, 3, "cuda:0")
    client = redis.Redis(unix_socket_path=redis_url.removeprefix("redis+socket://"))
    queued = client.lpop("bunsen:device.cuda:0")
    assert isinstance(queued, bytes)
    message = json.loads(queued)
    assert message["headers"]["task"] == "bunsen.attempt"
    assert message["content-type"] == "application/json"
    assert str(run_id) in message["headers"]["argsrepr"]
    assert all(key.startswith(b"bunsen:") for key in client.scan_iter())
    client.close()


def test_without_redis_a_folder_carries_the_bells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(f"filesystem://{tmp_path}", monkeypatch)
    assert broker.ring(new_id(), 1, "cpu")
    assert [path.name.endswith("device.cpu.msg") for path in tmp_path.glob("*.msg")] == [True]


def test_who_only_submits_does_not_load_celery_or_torch() -> None:
    code = "import app.runs.submit, sys; print(sorted({'celery', 'kombu', 'torch'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
