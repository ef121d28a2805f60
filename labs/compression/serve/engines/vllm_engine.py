"""vLLM as an engine: its own server, as a process in an environment of its own, asked over HTTP.

vLLM pins other versions of transformers and FastAPI than this project, so it is never imported.
The process belongs to the trainer's group and dies with it.
"""

import json
import math
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import torch

from labs.compression.serve.asked import Asked, EngineFailed, Finish, Piece, Tell
from labs.compression.serve.spec import ServeParams, cache_bytes
from labs.contract import Json, LabContext, LabError
from labs.models import read_facts
from labs.runspec import read_params

START_SECONDS, LOOK_SECONDS, END_SECONDS = 1200.0, 0.25, 10.0
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 600.0
NAME = "served"
MOST_OF_GPU = 0.9
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
# Asks Linux to end the server when the trainer is gone (PR_SET_PDEATHSIG), then becomes it.
LAUNCH = """
import ctypes, runpy, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
"""


class VllmEngine:
    """Asks a server that `open_vllm` started; `close` ends it with all its children."""

    name = "vllm"

    def __init__(self, process: "subprocess.Popen[bytes]", address: str, key: str) -> None:
        self._process = process
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}"}
        self._most_bytes = 0

    def answer(self, asked: Asked, tell: Tell) -> None:
        """See `Engine.answer`."""
        tokens = 0
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        try:
            with (
                httpx.Client(headers=self._headers, timeout=timeout, trust_env=False) as client,
                client.stream(
                    "POST", f"{self._address}/v1/completions", json=_request(asked)
                ) as said,
            ):
                if said.status_code != 200:
                    raise EngineFailed(f"vLLM answered {said.status_code}: {said.read()[:500]!r}")
                for event in _events(said):
                    if asked.cancelled.is_set():
                        return
                    tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
                    for choice in event["choices"]:
                        finish: Finish = choice["finish_reason"] or ""
                        tell(Piece(choice["text"], tokens, finish))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise EngineFailed(f"vLLM's server cannot be asked: {error}") from error

    def memory_bytes(self) -> int:
        """What its processes hold now, or held when this was asked before, if that was more."""
        now = 0
        for process in _family(self._process.pid):
            with suppress(psutil.Error):
                now += process.memory_info().rss
        self._most_bytes = max(self._most_bytes, now)
        return self._most_bytes

    def wait_until_ready(self, run: LabContext) -> None:
        """Wait until it answers; raises `LabError` where it ends before, or takes too long."""
        started = time.monotonic()
        while not self._is_ready():
            run.check_stop()
            waited = time.monotonic() - started
            if self._process.poll() is not None:
                raise LabError(
                    "vLLM ended with code {code} before it could answer. The run's output says why.",
                    code=self._process.returncode,
                )
            if waited > START_SECONDS:
                raise LabError(
                    "vLLM did not answer within {seconds} s. The run's output says what it did.",
                    seconds=int(START_SECONDS),
                )
            run.progress(waited, START_SECONDS, "vLLM is starting")
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Ask it to end, then make it."""
        family = _family(self._process.pid)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
        for process in reversed(family):
            with suppress(psutil.Error):
                process.kill()
        self._process.wait()
        psutil.wait_procs(family, END_SECONDS)

    def _is_ready(self) -> bool:
        try:
            reply = httpx.get(
                f"{self._address}/health", headers=self._headers, timeout=5, trust_env=False
            )
        except httpx.HTTPError:
            return False
        return reply.status_code == 200


def open_vllm(params: ServeParams, run: LabContext) -> VllmEngine:
    """Start vLLM's server on a free port of this machine and wait until it answers.

    Raises:
        LabError: If its environment is not here, or it does not start.
    """
    spec = read_params(run.run_dir)
    python = spec.engines.get("vllm", "")
    if not python or not Path(python).is_file():
        raise LabError(
            "vLLM has no environment on this machine. An administrator can set one up with `bunsen doctor --install vllm`. Until then choose the engine transformers or llama_cpp.",
            parameter="engine",
        )
    key = secrets.token_urlsafe(32)
    port = _free_port()
    facts = read_facts(run.base_model)
    options = {
        "--model": str(run.base_model),
        "--served-model-name": NAME,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": DTYPES[params.precision],
        "--max-model-len": str(params.context(facts)),
        "--max-num-seqs": str(params.slots),
    }
    if run.device == "cuda":
        options["--gpu-memory-utilization"] = f"{_gpu_share(spec.memory_limit_bytes):.3f}"
    command = [python, "-c", LAUNCH, *(part for pair in options.items() for part in pair)]
    command.append("--disable-uvicorn-access-log")
    if run.device == "cpu":
        # Compiling takes longer than most runs serve.
        command.append("--enforce-eager")
    environment = _environment(key)
    if run.device == "cpu":
        cache = params.slots * cache_bytes(facts, params.context(facts), params.bytes_of_number)
        environment |= _on_cpu(spec.threads, cache)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    engine = VllmEngine(process, f"http://127.0.0.1:{port}", key)
    try:
        engine.wait_until_ready(run)
    except BaseException:
        engine.close()
        raise
    return engine


def _environment(key: str) -> dict[str, str]:
    """The key goes through the environment: command lines can be read by everybody."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VLLM_"))}
    added = {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    return {**kept, **added}


def _on_cpu(threads: int, cache: int) -> dict[str, str]:
    return {
        # Binding threads to cores fails on virtual machines that hide their layout.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
        # In whole GiB.
        "VLLM_CPU_KVCACHE_SPACE": str(max(1, math.ceil(cache / (1 << 30)))),
    }


def _gpu_share(limit: int | None) -> float:
    """Of the device's memory: what was reserved for this run. By itself vLLM takes nearly all."""
    total = torch.cuda.get_device_properties(0).total_memory
    return MOST_OF_GPU if limit is None else min(MOST_OF_GPU, limit / total)


def _request(asked: Asked) -> Json:
    return {
        "model": NAME,
        "prompt": list(asked.prompt),
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p if asked.top_p > 0 else 1e-6,
        "ignore_eos": asked.ignore_end,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        **({} if asked.seed is None else {"seed": asked.seed}),
    }


def _events(reply: httpx.Response) -> Iterator[Json]:
    for line in reply.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
