"""A model behind the front of the serve lab, for tests that speak to it as a client."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import OpenAI
from transformers import PreTrainedTokenizerBase

from labs import bundled
from labs.common.loading import load_model, load_tokenizer
from labs.compression.serve.answering import Answerer, Limits
from labs.compression.serve.asked import Engine
from labs.compression.serve.engines.llama_engine import LlamaEngine
from labs.compression.serve.engines.torch_engine import TorchEngine
from labs.compression.serve.front import Front
from labs.compression.serve.lease import Lease
from labs.gguf import write_gguf
from labs.gguf.llama import Llama

SECRET, TEST_SECRET = "the proxy's secret", "the load test's secret"
MODEL = "base"


@dataclass
class Serving:
    """Everything that a test may look at."""

    address: str
    engine: Engine
    lease: Lease
    front: Front
    tokenizer: PreTrainedTokenizerBase

    @contextmanager
    def client(self, key: str = SECRET) -> Iterator[OpenAI]:
        with OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0) as client:
            yield client

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {SECRET}"}


@contextmanager
def serving(engine: Engine, state: Any = "open", **limits: int) -> Iterator[Serving]:
    """The front before an engine, closed at the end with it."""
    tokenizer = load_tokenizer(base())
    lease = Lease(wait=600, idle=600, longest=3600)
    lease.enter(state)
    given = {"context": 512, "max_new_tokens": 256, **limits}
    front = Front(Answerer(engine, tokenizer, MODEL, Limits(**given)), lease, SECRET, TEST_SECRET)
    address = front.start("127.0.0.1")
    try:
        yield Serving(address, engine, lease, front, tokenizer)
    finally:
        front.close()
        engine.close()


def base() -> Path:
    return bundled.models()["base"]


def in_torch(slots: int = 4) -> TorchEngine:
    return TorchEngine(load_model(base(), "cpu"), load_tokenizer(base()), "cpu", slots)


def in_llama(folder: Path, slots: int = 4) -> LlamaEngine:
    path = folder / "base.gguf"
    write_gguf(base(), path, "f16", "base", {})
    return LlamaEngine(Llama(path, threads=1, context=512, parallel=slots))
