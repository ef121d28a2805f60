"""A serving run from its first stage to the end of its endpoint."""

import json
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from labs.contract import Json
from labs.events import read_events
from labs.rundir import stored_result
from labs.runspec import RunSpec, write_params
from labs.trainer import Outcome, StopFlag, run_attempt
from tests.labs.runs import events_of, make_spec
from tests.labs.tiny import make_dataset, make_model

STAGES = ("export", "start", "load_test", "report")
BRIEF: Json = {
    "concurrency": [1, 2],
    "prompt_tokens": 8,
    "output_tokens": 3,
    "level_seconds": 0.05,
    "wait_seconds": 0.1,
    "max_new_tokens": 8,
}


def a_spec(
    tmp_path: Path, stages: tuple[str, ...] = STAGES, attempt: int = 1, **params: object
) -> RunSpec:
    model, rows = tmp_path / "tiny", tmp_path / "rows.jsonl"
    if not model.exists():
        make_model(model)
        make_dataset(rows)
    spec = make_spec(model, rows, stages=stages, attempt=attempt, lab="serve")
    return RunSpec(**{**_fields(spec), "params": {**BRIEF, **params}})


def _fields(spec: RunSpec) -> Json:
    return {name: getattr(spec, name) for name in RunSpec.__dataclass_fields__}


def carry_out(
    run_dir: Path, spec: RunSpec, on_event: Callable[[Json, StopFlag], None] = lambda e, s: None
) -> Outcome:
    stop = StopFlag()
    write_params(run_dir, spec)
    return run_attempt(run_dir, stop, lambda event: on_event(event, stop))


def states(run_dir: Path) -> list[str]:
    """Each state of the endpoint once, in order."""
    told = [event["state"] for event in events_of(run_dir, "endpoint")]
    return [state for i, state in enumerate(told) if told[i - 1 : i] != [state]]


@pytest.mark.parametrize("engine", ["transformers", "llama_cpp"])
def test_a_run_that_nobody_talks_to_measures_and_ends(tmp_path: Path, engine: str) -> None:
    run_dir = tmp_path / "run"
    seen: dict[str, Json] = {}

    def look(event: Json, stop: StopFlag) -> None:
        if event["kind"] == "endpoint" and event["state"] == "open" and not seen:
            file = run_dir / "endpoint.json"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            seen["endpoint"] = json.loads(file.read_text())

    outcome = carry_out(run_dir, a_spec(tmp_path, engine=engine), look)
    assert (outcome.outcome, outcome.traceback) == ("succeeded", "")
    assert states(run_dir) == ["starting", "testing", "open", "closed"]
    assert seen["endpoint"].keys() == {"address", "secret", "model", "engine", "attempt"}
    left = [path for path in run_dir.rglob("*") if path.is_file()]
    assert not [path for path in left if seen["endpoint"]["secret"].encode() in path.read_bytes()]
    assert not (run_dir / "endpoint.json").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(seen["endpoint"]["address"])
    assert (run_dir / "artifacts/gguf/model.gguf").exists() == (engine == "llama_cpp")
    _check_figures(run_dir)


def _check_figures(run_dir: Path) -> None:
    steps = {
        event["step"]: event["values"] for event in events_of(run_dir, "metrics") if event["step"]
    }
    assert steps.keys() == {1, 2}
    measured = stored_result(run_dir, "load_test")
    assert measured
    assert measured["errors"] == 0
    assert measured["latency/p99_seconds"] >= measured["latency/p50_seconds"] > 0
    points = [event["values"] for event in events_of(run_dir, "metrics")]
    keys = {key for values in points for key in values}
    assert {
        "serve/first_token_seconds", "serve/inter_token_seconds", "serve/tokens_per_second",
        "latency/mean_seconds", "throughput/generated_tokens_per_second", "artifact/bytes",
        "memory/peak_bytes",
    } <= keys  # fmt: skip
    rates = next(event for event in events_of(run_dir, "table") if event["name"] == "rates")
    lengths = [row[4] for row in rates["rows"]]
    assert lengths == [3, 3], "every answer of the load test is equally long"
    assert {event["name"] for event in events_of(run_dir, "plot")} == {
        "throughput", "first_token", "latency",
    }  # fmt: skip


class Visitor:
    """Does something to the endpoint of a run that has just opened, in a thread of its own."""

    def __init__(self, run_dir: Path, act: Callable[[httpx.Client, StopFlag], None]) -> None:
        self._run_dir, self._act = run_dir, act
        self._thread: threading.Thread | None = None

    def __call__(self, event: Json, stop: StopFlag) -> None:
        if self._thread is None and event["kind"] == "endpoint" and event["state"] == "open":
            self._thread = threading.Thread(target=self._visit, args=(stop,))
            self._thread.start()

    def _visit(self, stop: StopFlag) -> None:
        endpoint = json.loads((self._run_dir / "endpoint.json").read_text())
        headers = {"Authorization": f"Bearer {endpoint['secret']}"}
        with httpx.Client(base_url=endpoint["address"], headers=headers) as client:
            self._act(client, stop)


def talk(client: httpx.Client) -> None:
    asked = {"prompt": "abc", "max_tokens": 2, "ignore_eos": True}
    assert client.post("/v1/completions", json=asked).status_code == 200


def test_an_endpoint_stays_open_for_a_visitor_until_it_is_told_to_close(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"

    def act(client: httpx.Client, stop: StopFlag) -> None:
        talk(client)
        status = client.get("/bunsen/status").json()
        assert (status["state"], status["completion_tokens"]) == ("open", 2)
        assert status["closes_in_seconds"] > 500, "ten minutes after a request"
        client.post("/bunsen/closing")

    outcome = carry_out(run_dir, a_spec(tmp_path, wait_seconds=60), Visitor(run_dir, act))
    assert outcome.outcome == "succeeded"
    assert stored_result(run_dir, "report") == {
        "requests": 1,
        "prompt_tokens": 3,
        "completion_tokens": 2,
    }


def test_a_stop_closes_an_open_endpoint_and_a_later_attempt_opens_it_again(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    patient: Json = {"wait_seconds": 60}
    first = a_spec(tmp_path, **patient)
    outcome = carry_out(run_dir, first, Visitor(run_dir, lambda client, stop: stop.set()))
    assert outcome.outcome == "stopped"
    assert states(run_dir)[-1] == "closed"
    assert not (run_dir / "endpoint.json").exists()

    def close(client: httpx.Client, stop: StopFlag) -> None:
        talk(client)
        client.post("/bunsen/closing")

    second = a_spec(tmp_path, attempt=2, **patient)
    assert carry_out(run_dir, second, Visitor(run_dir, close)).outcome == "succeeded"
    skipped = [e["stage"] for e in events_of(run_dir, "stage") if e["status"] == "skipped"]
    assert skipped == ["export", "start", "load_test"]


@pytest.mark.parametrize("stage", ["start", "load_test"])
def test_a_stop_between_or_inside_stages_leaves_nothing_running(tmp_path: Path, stage: str) -> None:
    run_dir = tmp_path / "run"

    def stop_in(event: Json, stop: StopFlag) -> None:
        if (event["kind"], event.get("state")) == ("endpoint", "testing") and stage == "start":
            stop.set()
        if (event["kind"], event.get("note")) == ("progress", "clients are asking"):
            stop.set()

    spec = a_spec(tmp_path, level_seconds=600)
    assert carry_out(run_dir, spec, stop_in).outcome == "stopped"
    assert states(run_dir)[-1] == "closed"
    assert not (run_dir / "endpoint.json").exists()


STANDIN = """
import http.server, json, os, subprocess, sys, time
arguments = sys.argv[1:]
options = dict(zip(arguments[2::2], arguments[3::2]))
if options["--max-model-len"] == "100":
    sys.exit("the engine core could not start")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(os.environ["STANDIN_NOTES"], "w").write(json.dumps([os.getpid(), child.pid, arguments]))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        allowed = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        self.send_response(200 if allowed else 401)
        self.end_headers()
        for made in range(1, asked["max_tokens"] + 1):
            finish = "length" if made == asked["max_tokens"] else None
            event = {"choices": [{"text": " a", "finish_reason": finish}],
                     "usage": {"completion_tokens": made}}
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\\\\n\\\\n")
        self.wfile.write(b"data: [DONE]\\\\n\\\\n")

    def log_message(self, *parts):
        pass

http.server.HTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that starts, instead of vLLM, a server with its routes and a child."""
    script = tmp_path / "standin.py"
    script.write_text(STANDIN.replace("\\\\", "\\"))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("STANDIN_NOTES", str(tmp_path / "notes.json"))
    return python


def with_vllm(spec: RunSpec, python: Path) -> RunSpec:
    return RunSpec(**{**_fields(spec), "engines": {"vllm": str(python)}})


def test_vllm_is_a_process_that_ends_with_the_run(tmp_path: Path, standin: Path) -> None:
    """With a stand-in that has vLLM's routes; the real one was tried by hand (see the docs)."""
    run_dir = tmp_path / "run"
    spec = with_vllm(a_spec(tmp_path, engine="vllm", context_length=128), standin)
    outcome = carry_out(run_dir, spec)
    assert (outcome.outcome, outcome.message) == ("succeeded", "")
    server, child, arguments = json.loads((tmp_path / "notes.json").read_text())
    assert not psutil.pid_exists(server)
    assert not psutil.pid_exists(child)
    assert "--max-num-seqs" in arguments
    assert "VLLM_API_KEY" not in " ".join(arguments), "command lines can be read by everybody"
    answers = next(e for e in read_events(run_dir) if e["kind"] == "samples")
    assert answers["rows"][0]["answer"] == "a" + " a" * 7


def test_vllm_that_cannot_start_fails_with_a_sentence(tmp_path: Path, standin: Path) -> None:
    missing = carry_out(tmp_path / "run", a_spec(tmp_path, engine="vllm"))
    assert "bunsen doctor --install vllm" in missing.message
    broken = a_spec(tmp_path, engine="vllm", context_length=100)
    outcome = carry_out(tmp_path / "other", with_vllm(broken, standin))
    assert (outcome.outcome, outcome.values["code"]) == ("failed", 1)
    assert states(tmp_path / "other") == ["starting", "closed"]


def test_llama_cpp_refuses_what_gguf_cannot_hold_before_anything_starts(tmp_path: Path) -> None:
    spec = a_spec(tmp_path, engine="llama_cpp")
    config = tmp_path / "tiny" / "config.json"
    config.write_text(config.read_text().replace('"silu"', '"relu"'))
    outcome = carry_out(tmp_path / "run", spec)
    assert outcome.outcome == "failed"
    assert "activation" in outcome.message
    assert states(tmp_path / "run") == []
