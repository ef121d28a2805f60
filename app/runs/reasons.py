"""Sentences to store: a template and its values, put together where they are shown."""

from typing import Any


def reason_of(message: str, **values: Any) -> dict[str, Any]:
    """A sentence as rows keep it."""
    return {"message": message, "values": values}


def gibibytes(count: int) -> str:
    """A size for a sentence."""
    return f"{count / 2**30:.1f} GiB"
