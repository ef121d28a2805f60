"""From a request to the pieces of its answer: prompt, engine, stop sequences, counts.

Engines block and HTTP must not wait for them: each request that is being answered has a thread
of a pool, and its pieces come into the loop that serves HTTP.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from labs.common.formatting import encode_prompt, encode_text
from labs.compression.serve.asked import Asked, Engine, Finish, Piece
from labs.compression.serve.protocol import Refused, Wanted
from labs.compression.serve.stops import StopCutter


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take."""

    context: int
    max_new_tokens: int
    # Requests under way and waiting; one more is told to come back later.
    waiting: int = 64


@dataclass(slots=True, eq=False)
class Answering:
    """One request that is being answered."""

    asked: Asked
    cutter: StopCutter
    tokens: int = 0
    queue: "asyncio.Queue[Piece | BaseException | None]" = field(default_factory=asyncio.Queue)


class Answerer:
    """Asks one engine for many clients."""

    def __init__(
        self, engine: Engine, tokenizer: PreTrainedTokenizerBase, model: str, limits: Limits
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.model = model
        self.limits = limits
        self._pool = ThreadPoolExecutor(max(1, limits.waiting), thread_name_prefix="answer")
        self._under_way: set[Answering] = set()

    def prepare(self, wanted: Wanted) -> Answering:
        """Turn a request into token ids; raises `Refused`."""
        if wanted.model and wanted.model != self.model:
            message = (
                f"There is no model “{wanted.model}” here. This endpoint serves “{self.model}”."
            )
            raise Refused(404, message, "model", "model_not_found")
        if len(self._under_way) >= self.limits.waiting:
            message = (
                f"{self.limits.waiting} requests are being answered or wait. Try again in a moment."
            )
            raise Refused(429, message, None, "rate_limit_exceeded", retry_after=1)
        prompt = self._prompt(wanted)
        asked = Asked(
            prompt=prompt,
            max_tokens=self._room(len(prompt), wanted),
            temperature=wanted.temperature,
            top_p=wanted.top_p,
            seed=wanted.seed,
            ignore_end=wanted.ignore_end,
        )
        return Answering(asked, StopCutter(wanted.stop))

    async def pieces(self, one: Answering) -> AsyncIterator[tuple[str, Finish]]:
        """Text and, with the last piece, why it ends; no such end where it was cancelled."""
        loop = asyncio.get_running_loop()
        self._under_way.add(one)
        work = loop.run_in_executor(self._pool, self._work, one, loop)
        try:
            while (piece := await one.queue.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                one.tokens = piece.tokens
                text = one.cutter.put(piece.text)
                if one.cutter.stopped:
                    yield text, "stop"
                    return
                if piece.finish:
                    yield text + one.cutter.rest(), piece.finish
                    return
                yield text, ""
        finally:
            one.asked.cancelled.set()
            self._under_way.discard(one)
            await asyncio.shield(work)

    def cancel_all(self) -> None:
        """Cut off every answer under way."""
        for one in tuple(self._under_way):
            one.asked.cancelled.set()

    def close(self) -> None:
        """Wait for the threads; everything must have been cancelled."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, one: Answering, loop: asyncio.AbstractEventLoop) -> None:
        def tell(piece: Piece | BaseException | None) -> None:
            loop.call_soon_threadsafe(one.queue.put_nowait, piece)

        try:
            self.engine.answer(one.asked, tell)
        except Exception as error:
            tell(error)
        else:
            tell(None)

    def _prompt(self, wanted: Wanted) -> tuple[int, ...]:
        if wanted.messages is not None:
            try:
                return encode_prompt(self.tokenizer, wanted.messages)
            except TemplateError as error:
                message = f"The model's chat template does not take these messages: {error}"
                raise Refused(400, message, "messages") from error
        if isinstance(wanted.prompt, str):
            return encode_text(self.tokenizer, wanted.prompt)
        if max(wanted.prompt) >= len(self.tokenizer):
            message = f"The prompt has a token id of {max(wanted.prompt)}; this model knows ids below {len(self.tokenizer)}."
            raise Refused(400, message, "prompt")
        return wanted.prompt

    def _room(self, prompt_tokens: int, wanted: Wanted) -> int:
        """How many tokens the answer may have."""
        field_name: Literal["messages", "prompt"] = (
            "prompt" if wanted.messages is None else "messages"
        )
        if prompt_tokens == 0:
            raise Refused(400, "The prompt is empty.", field_name)
        longest = self.limits.max_new_tokens
        if wanted.max_tokens is not None and wanted.max_tokens > longest:
            message = (
                f"At most {longest} tokens are generated here; {wanted.max_tokens} were asked for."
            )
            raise Refused(400, message, "max_tokens")
        left = self.limits.context - prompt_tokens
        needed = wanted.max_tokens or 1
        if needed > left:
            message = f"The context has {self.limits.context} tokens; the prompt has {prompt_tokens} and at least {needed} more were asked for."
            raise Refused(400, message, field_name, "context_length_exceeded")
        return wanted.max_tokens or min(longest, left)
