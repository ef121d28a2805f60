"""Answers of the API, and what a body may hold."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from starlette.responses import Response

from app.api.series import dumps
from app.i18n import N_, gettext, sentence

DEEPEST = 20


class Json(Response):
    """JSON, with times, ids and arrays as orjson writes them."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content)


class Body(BaseModel):
    """A JSON body: no field that we do not know, nothing that a database cannot store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        refuse_unstorable(value)
        return value


def refuse_unstorable(value: Any, depth: int = 0) -> None:
    """Raise `ValueError` for NUL, half surrogate pairs, NaN and infinities, and deep nesting."""
    if depth > DEEPEST:
        raise ValueError(gettext(N_("Objects are nested too deep.")))
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ValueError(gettext(N_("A text holds a NUL character or half a surrogate pair.")))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(gettext(N_("A number is not finite.")))
    if isinstance(value, dict):
        for key, each in value.items():
            refuse_unstorable(key, depth + 1)
            refuse_unstorable(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            refuse_unstorable(each, depth + 1)


def told(reason: dict[str, Any] | None) -> dict[str, Any] | None:
    """A stored reason with its sentence: {"message", "values", "text"}."""
    if not reason:
        return None
    return {**reason, "text": sentence(reason["message"], reason.get("values"))}
