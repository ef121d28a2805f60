"""llama.cpp in this process: what a GGUF file answers."""

import json
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labs.contract import Json, LabError

PROBE_SECONDS = 600
# This machine's own port: whatever proxy the environment names is not asked.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# What a child does before this process does it: load the file and compute one token.
PROBE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.cpuparams.n_threads = sys.argv[1], 64, 1
params.n_parallel, params.warmup = 1, False
xllamacpp.Server(params).handle_completions({"prompt": [0], "max_tokens": 1})
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was generated: `stopped` is whether by an end token, not by the limit."""

    text: str
    ids: tuple[int, ...]
    stopped: bool
    prompt_tokens: int
    seconds: float


class Llama:
    """A GGUF file, loaded. Close it, or use it in a `with` statement.

    llama.cpp's own server listens on a port of 127.0.0.1 meanwhile (`address`), for whoever knows
    `key`: OpenAI's routes, streaming, several requests at once.
    """

    def __init__(self, path: Path, threads: int = 1, context: int = 0, parallel: int = 1) -> None:
        """Load a file.

        Args:
            path: The GGUF file.
            threads: Cores to compute with.
            context: Tokens of one request with its answer; 0 takes what the file states.
            parallel: Requests at once; each has its own context.

        Raises:
            LabError: If llama.cpp is not here, cannot run on this processor, or refuses the file.
        """
        try_here(path)
        self.key = secrets.token_urlsafe(32)
        self._server = _server(path, threads, context, parallel, self.key)
        self.address: str = self._server.listening_address

    def greedy(self, prompt: Sequence[int] | Sequence[Mapping[str, str]], tokens: int) -> Answer:
        """The most likely continuation, token by token.

        Args:
            prompt: Token ids, or messages with `role` and `content` for the file's chat template.
            tokens: How many at most.
        """
        messages = [dict(each) for each in prompt if isinstance(each, Mapping)]
        start: Any = list(prompt)
        if messages:
            start = self._ask("/apply-template", {"messages": messages})["prompt"]
        asked = {"prompt": start, "n_predict": tokens, "return_tokens": True}
        answer = self._ask("/completion", {**asked, "temperature": 0, "cache_prompt": False})
        timings = answer["timings"]
        return Answer(
            text=answer["content"],
            ids=tuple(answer["tokens"]),
            stopped=answer["stop_type"] == "eos",
            prompt_tokens=int(answer["tokens_evaluated"]),
            seconds=float(timings["prompt_ms"] + timings["predicted_ms"]) / 1000,
        )

    def stream(self, request: Json, tell: Callable[[Json], bool]) -> None:
        """Answer a request of OpenAI's completions in llama.cpp's own pieces.

        Blocks until the last piece, or until `tell` gives True.
        """
        try:
            said = self._server.handle_completions(request, tell)
        except RuntimeError as error:
            raise LabError("llama.cpp answered: {reason}", reason=str(error)[:300]) from error
        if said and "error" in said:
            raise LabError("llama.cpp answered: {reason}", reason=str(said["error"])[:300])

    def tokens(self, text: str) -> list[int]:
        """Ids of a text; special tokens in it count as such, nothing is put before."""
        asked = {"content": text, "add_special": False, "parse_special": True}
        ids: list[int] = self._ask("/tokenize", asked)["tokens"]
        return ids

    def _ask(self, route: str, request: Json) -> Json:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        url = f"{self.address}{route}"
        asked = urllib.request.Request(url, json.dumps(request).encode(), headers)
        try:
            with DIRECT.open(asked) as reply:
                answer: Json = json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            raise LabError("llama.cpp answered: {reason}", reason=said[:300]) from error
        return answer

    def close(self) -> None:
        """Free the memory; the object is of no use afterwards."""
        self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _server(path: Path, threads: int, context: int, parallel: int, key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context * parallel
    params.n_parallel = parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = 2 + parallel
    params.api_keys = [key]
    params.warmup, params.ui, params.verbosity = False, False, 1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise LabError(
            "llama.cpp refuses “{file}”: {reason}", file=path.name, reason=error
        ) from error


@lru_cache(maxsize=8)
def try_here(path: Path) -> None:
    """Load the file in a child first: a build for another processor would take this process down.

    Raises:
        LabError: If llama.cpp is not installed, cannot run here, or refuses the file.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path)],
        capture_output=True,
        check=False,
        timeout=PROBE_SECONDS,
    )
    if done.returncode != 0:
        raise unusable(done.returncode, done.stderr.decode(errors="replace"))


def unusable(code: int, said: str) -> LabError:
    """What is told where the child that tried llama.cpp ended with this code."""
    if code < 0:
        return LabError(
            "llama.cpp was ended by signal {signal} on this machine: the installed build uses instructions that this processor lacks. Install a portable build of xllamacpp, or build it with GGML_NATIVE=OFF.",
            signal=-code,
        )
    if "No module named 'xllamacpp'" in said:
        return LabError("llama.cpp (xllamacpp) is not installed on this machine.")
    last = (said.strip().splitlines() or ["?"])[-1]
    return LabError("llama.cpp cannot be used here: {reason}", reason=last[:300])
