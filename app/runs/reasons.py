"""Sentences to store: a template and its values, put together where they are shown."""

from datetime import UTC, datetime
from typing import Any


def reason_of(message: str, **values: Any) -> dict[str, Any]:
    """A sentence as rows keep it."""
    return {"message": message, "values": values}


def gibibytes(count: int) -> str:
    """A size for a sentence."""
    return f"{count / 2**30:.1f} GiB"


def instant(moment: datetime) -> dict[str, str]:
    """An instant as a value of a sentence: whoever reads it sees it in their own zone."""
    return {"at": moment.astimezone(UTC).isoformat(timespec="seconds")}
