"""Requests in the words of OpenAI's interface, read strictly. Imports no torch.

What this endpoint cannot do is refused by name, never passed over: a client that asks for tools
and gets prose would not know why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labs.contract import Json
from labs.formats import ROLES, Message

MOST_STOPS, LONGEST_STOP = 4, 200
# Said of a request, with no effect on its answer.
WITHOUT_EFFECT = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
)
# Not supported, but harmless where it asks for nothing.
NEUTRAL: Mapping[str, Sequence[Any]] = {
    "n": (1,), "best_of": (1,), "logprobs": (False, 0), "top_logprobs": (0,), "echo": (False,),
    "suffix": ("",), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],),
    "parallel_tool_calls": (True, False), "function_call": ("none", "auto"),
    "frequency_penalty": (0, 0.0), "presence_penalty": (0, 0.0), "logit_bias": ({},),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (),
    "reasoning_effort": (), "prediction": (), "web_search_options": (), "verbosity": (),
}  # fmt: skip


class Refused(Exception):
    """A request that is not answered, as OpenAI's clients understand it."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after = retry_after

    def json(self) -> Json:
        """{"error": {"message", "type", "param", "code"}}."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": told}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request as it was read; `max_tokens` is None where it leaves the length to us."""

    model: str
    messages: tuple[Message, ...] | None
    prompt: str | tuple[int, ...]
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    ignore_end: bool


class _Body:
    """The fields of a request, taken one by one; what is left over is unknown."""

    def __init__(self, body: Json) -> None:
        self._left = {key: value for key, value in body.items() if value is not None}

    def take(self, name: str, default: Any, *kinds: type) -> Any:
        value = self._left.pop(name, default)
        if value is default:
            return value
        # In Python, True is a number; in JSON it is none.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise _wrong(name, f"cannot be a {_json_name(value)}")
        return value

    def number(self, name: str, default: Any, low: float, high: float, *kinds: type) -> Any:
        value = self.take(name, default, *(kinds or (int, float)))
        if value is not default and not low <= value <= high:
            raise _wrong(name, f"must lie between {low:g} and {high:g}, not at {value}")
        return value

    def finish(self) -> None:
        """Refuse what is not supported or not known."""
        for name, value in self._left.items():
            if name in WITHOUT_EFFECT or _is_neutral(name, value):
                continue
            if name in NEUTRAL:
                raise _wrong(name, "is not supported by this endpoint", "unsupported_parameter")
            raise _wrong(name, "is not known to this endpoint", "unknown_parameter")


def read_chat(body: Json) -> Wanted:
    """A request for `/v1/chat/completions`; raises `Refused`."""
    fields = _Body(body)
    listed = fields.take("messages", None, list)
    if not listed:
        raise _wrong("messages", "must list at least one message")
    messages = tuple(_message(each, f"messages[{i}]") for i, each in enumerate(listed))
    limit = fields.number("max_completion_tokens", None, 1, 1 << 31, int)
    older = fields.number("max_tokens", None, 1, 1 << 31, int)
    return _wanted(fields, messages, "", older if limit is None else limit)


def read_completion(body: Json) -> Wanted:
    """A request for `/v1/completions`; raises `Refused`."""
    fields = _Body(body)
    prompt = _prompt(fields.take("prompt", "", str, list))
    # As OpenAI has it: 16 tokens unless more are asked for.
    return _wanted(fields, None, prompt, fields.number("max_tokens", 16, 1, 1 << 31, int))


def _wanted(
    fields: _Body,
    messages: tuple[Message, ...] | None,
    prompt: str | tuple[int, ...],
    max_tokens: int | None,
) -> Wanted:
    options = fields.take("stream_options", {}, dict)
    wanted = Wanted(
        model=fields.take("model", "", str),
        messages=messages,
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=float(fields.number("temperature", 1.0, 0, 2)),
        top_p=float(fields.number("top_p", 1.0, 0, 1)),
        seed=fields.number("seed", None, -(1 << 63), (1 << 63) - 1, int),
        stop=_stops(fields.take("stop", (), str, list)),
        stream=fields.take("stream", False, bool),
        include_usage=options.get("include_usage") is True,
        ignore_end=fields.take("ignore_eos", False, bool),
    )
    fields.finish()
    return wanted


def _message(value: Any, place: str) -> Message:
    if not isinstance(value, dict):
        raise _wrong(place, "must be an object with role and content")
    role = ROLES.get("system" if value.get("role") == "developer" else str(value.get("role")))
    if role is None:
        raise _wrong(f"{place}.role", "must be system, user or assistant")
    if value.get("tool_calls"):
        raise _wrong(
            f"{place}.tool_calls", "is not supported by this endpoint", "unsupported_parameter"
        )
    return Message(role, _content(value.get("content"), f"{place}.content"))


def _content(value: Any, place: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise _wrong(place, "must be text")
    texts = []
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else _json_name(part)
            raise _wrong(
                place, f"has a part “{kind}”: this model reads text only", "unsupported_value"
            )
        if not isinstance(part.get("text"), str):
            raise _wrong(place, "has a part of text without text")
        texts.append(part["text"])
    return "".join(texts)


def _prompt(value: str | list[Any]) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return value
    if len(value) == 1 and isinstance(value[0], (str, list)):
        return _prompt(value[0])
    if value and all(type(each) is int and each >= 0 for each in value):
        return tuple(value)
    raise _wrong("prompt", "must be one text or one list of token ids")


def _stops(value: str | Sequence[Any]) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else tuple(value)
    if len(stops) > MOST_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise _wrong("stop", f"must be a text or up to {MOST_STOPS} of them, none empty")
    if any(len(stop) > LONGEST_STOP for stop in stops):
        raise _wrong("stop", f"has a sequence of more than {LONGEST_STOP} characters")
    return stops


def _is_neutral(name: str, value: Any) -> bool:
    return any(type(value) is type(each) and value == each for each in NEUTRAL.get(name, ()))


def _wrong(name: str, reason: str, code: str | None = None) -> Refused:
    return Refused(400, f"“{name}” {reason}.", name, code)


NAMES: Mapping[type, str] = {bool: "boolean", str: "string", list: "list", dict: "object"}


def _json_name(value: Any) -> str:
    return NAMES.get(type(value), "number")


Reader = Callable[[Json], Wanted]
