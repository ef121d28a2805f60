"""Answers in the shapes of OpenAI's interface, whole or in pieces. Imports no torch."""

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from labs.compression.serve.asked import Finish
from labs.contract import Json

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request: those of the prompt, and those computed for the answer."""

    prompt_tokens: int
    completion_tokens: int

    def json(self) -> Json:
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer under way: its id and model, and whether it is a message or plain text."""

    model: str
    is_chat: bool
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, finish: Finish, usage: Usage) -> Json:
        """The answer in one piece."""
        said: Json = {"text": text}
        if self.is_chat:
            said = {"message": {"role": "assistant", "content": text, "refusal": None}}
        return {**self._frame("", [self._choice(said, finish)]), "usage": usage.json()}

    def piece(self, text: str, finish: Finish, first: bool, asked_usage: bool) -> str:
        """More of it, as an event of a stream."""
        said: Json = {"text": text}
        if self.is_chat:
            role = {"role": "assistant"} if first else {}
            said = {"delta": {**role, **({"content": text} if text or not finish else {})}}
        frame = self._frame(".chunk", [self._choice(said, finish)])
        return event({**frame, **({"usage": None} if asked_usage else {})})

    def usage(self, usage: Usage) -> str:
        """The event that `stream_options.include_usage` asks for: no choices, only the counts."""
        return event({**self._frame(".chunk", []), "usage": usage.json()})

    def _choice(self, said: Json, finish: Finish) -> Json:
        return {"index": 0, **said, "logprobs": None, "finish_reason": finish or None}

    def _frame(self, chunk: str, choices: list[Json]) -> Json:
        kind = f"chat.completion{chunk}" if self.is_chat else "text_completion"
        return {
            "id": f"{'chatcmpl' if self.is_chat else 'cmpl'}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def event(data: Any) -> str:
    """One event of a stream."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def counted(usage: Usage) -> str:
    """A comment line, which clients pass over: from it the proxy counts, whatever was asked for."""
    told = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }
    return f": usage {json.dumps(told)}\n\n"


def models(name: str, created: int) -> Json:
    """What `/v1/models` lists."""
    return {"object": "list", "data": [model(name, created)]}


def model(name: str, created: int) -> Json:
    """What `/v1/models/{name}` tells."""
    return {"id": name, "object": "model", "created": created, "owned_by": "bunsen"}
