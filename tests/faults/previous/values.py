"""What stands in rows and in the parameters of statements, as JSON and back."""

import base64
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Binary
from psycopg.types.json import Jsonb


def to_json(value: Any) -> Any:
    """A value of a column or a driver; kinds that JSON lacks are tagged."""
    if isinstance(value, UUID):
        return {"$uuid": str(value)}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, memoryview | Binary):
        return to_json(bytes(value.obj))
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Jsonb):
        return {"$json": value.obj}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        return {key: to_json(each) for key, each in value.items()}
    return value


def from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [from_json(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (tag := next(iter(value))) in READERS:
        return READERS[tag](value[tag])
    return {key: from_json(each) for key, each in value.items()}


READERS = {
    "$uuid": UUID,
    "$time": datetime.fromisoformat,
    "$bytes": base64.b64decode,
    "$json": Jsonb,
}
