"""The box on a run's page that asks the served model: its form, as a client would have asked."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app import invalid
from app.errors import FieldError, InvalidInput

LONGEST_PROMPT = 100_000


class Trial(BaseModel):
    """A prompt as a chat message, or as text to be continued."""

    model_config = ConfigDict(frozen=True)

    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT)
    style: Literal["chat", "text"] = "chat"
    max_tokens: int = Field(default=64, ge=1, le=4096)
    temperature: float = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)

    @property
    def path(self) -> str:
        return "chat/completions" if self.style == "chat" else "completions"

    def body(self, model: str) -> bytes:
        """The request for a streamed answer of this model."""
        asked: dict[str, Any] = {
            "model": model,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": True,
        }
        if self.style == "chat":
            asked["messages"] = [{"role": "user", "content": self.prompt}]
        else:
            asked["prompt"] = self.prompt
        return json.dumps(asked).encode()


def read_trial(form: Mapping[str, Any]) -> Trial:
    """The form as sent; `InvalidInput` with a sentence for each field that does not hold."""
    try:
        sent = {name: form.get(name) for name in Trial.model_fields}
        return Trial.model_validate({name: each for name, each in sent.items() if _is_text(each)})
    except ValidationError as error:
        raise InvalidInput([_told(each) for each in error.errors(include_url=False)]) from error


def _is_text(value: Any) -> bool:
    """A file is no prompt."""
    return isinstance(value, str)


def _told(error: Any) -> FieldError:
    name = str(error["loc"][0])
    return FieldError(name, *invalid.told(error, name))
