"""Clients that ask the run's own endpoint over HTTP, as others would, and look at the clock."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any, TypeVar

import httpx

from labs.compression.serve.figures import Level, Timing
from labs.contract import Json, LabContext

# Beyond a level's time, an answer under way is waited for so long, then counted as an error.
PATIENCE_SECONDS = 600.0
STOP_LOOK_SECONDS = 0.1
CONNECT_SECONDS = 10.0

Ids = Sequence[int]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask, and as whom."""

    address: str
    secret: str
    model: str

    def client(self) -> httpx.AsyncClient:
        """Connections of its own, by no proxy."""
        return httpx.AsyncClient(
            base_url=self.address,
            headers={"Authorization": f"Bearer {self.secret}"},
            timeout=httpx.Timeout(PATIENCE_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )


class Failed(Exception):
    """A request that got no whole answer."""


def prompts_of(rows: Sequence[Ids], length: int, count: int) -> list[Ids]:
    """Prompts of exactly that length, cut from joined rows at different places.

    Each begins elsewhere, so that no engine can keep what it computed for the one before.
    """
    joined = [token for row in rows for token in row]
    while len(joined) < 2 * length:
        joined += joined
    step = max(1, (len(joined) - length) // count)
    starts = (place * step % (len(joined) - length) for place in range(count))
    return [joined[start : start + length] for start in starts]


def measure(
    run: LabContext, target: Target, concurrency: int, seconds: float, asked: Sequence[Json]
) -> Level:
    """Let so many clients ask one request after another for so long; each asks at least once.

    Raises:
        Stopped: If somebody asked the run to stop meanwhile; nothing is waited for then.
    """
    return asyncio.run(_measure(run, target, concurrency, seconds, cycle(asked)))


def ask(run: LabContext, target: Target, asked: Json) -> tuple[str, Timing]:
    """One answer's text and times; see `measure`."""

    async def once() -> tuple[str, Timing]:
        async with target.client() as client:
            texts: list[str] = []
            timing = await _ask(client, target.model, asked, texts)
            return "".join(texts), timing

    async def watched() -> tuple[str, Timing]:
        return await _unless_stopped(run, once())

    return asyncio.run(watched())


async def _measure(
    run: LabContext, target: Target, concurrency: int, seconds: float, asked: Iterator[Json]
) -> Level:
    timings: list[Timing] = []
    errors = 0
    started = time.perf_counter()

    async def client_of() -> None:
        nonlocal errors
        async with target.client() as client:
            while True:
                try:
                    timings.append(await _ask(client, target.model, next(asked)))
                except (httpx.HTTPError, Failed):
                    errors += 1
                run.progress(
                    min(time.perf_counter() - started, seconds), seconds, "clients are asking"
                )
                if time.perf_counter() - started >= seconds:
                    return

    async def all_clients() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(client_of())

    await _unless_stopped(run, all_clients())
    return Level(concurrency, time.perf_counter() - started, tuple(timings), errors)


async def _unless_stopped(run: LabContext, work: Coroutine[Any, Any, Result]) -> Result:
    """Do it, and let go of it as soon as the run is to stop."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            run.check_stop()
            await asyncio.wait([task], timeout=STOP_LOOK_SECONDS)
        return task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _ask(
    client: httpx.AsyncClient, model: str, asked: Json, texts: list[str] | None = None
) -> Timing:
    """One streamed answer, timed piece by piece."""
    body = {"model": model, **asked, "stream": True, "stream_options": {"include_usage": True}}
    started = time.perf_counter()
    arrived: list[float] = []
    tokens, finished = 0, False
    async with client.stream("POST", "/v1/completions", json=body) as reply:
        if reply.status_code != 200:
            raise Failed(f"{reply.status_code}")
        async for event in _events(reply):
            if "error" in event:
                raise Failed(event["error"]["message"])
            if event["choices"]:
                arrived.append(time.perf_counter())
                finished = finished or bool(event["choices"][0]["finish_reason"])
                if texts is not None:
                    texts.append(event["choices"][0]["text"])
            if event["usage"]:
                tokens = event["usage"]["completion_tokens"]
    if not finished:
        raise Failed("the answer was cut off")
    return Timing(started, tuple(arrived), tokens, arrived[-1])


async def _events(reply: httpx.Response) -> AsyncIterator[Json]:
    async for line in reply.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))
