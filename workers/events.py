"""One line of `events.jsonl` as an event that the database can take, or nothing.

A trainer runs code of labs, so nothing of a line is believed: what does not have the
shape of its kind is no event.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from app.metrics.store import MetricRow

Json = dict[str, Any]
LONGEST_KEY = 120
LONGEST_NAME = 64
LONGEST_STAGE = 32
LONGEST_NOTE = 200
MOST_KEYS = 500
LARGEST_WHOLE = 2**63 - 1
LARGEST_STEP = 2**31 - 1
LATEST = 2**32
# Deeper ones than any lab sends; what writes JSON has limits of its own, from 254 on.
MOST_LEVELS = 32


def parse(line: bytes) -> Json | None:
    """The event of a line, with the fields that its kind has; None for anything else."""
    try:
        event = orjson.loads(line)
        is_long = line.count(b"[") + line.count(b"{") > MOST_LEVELS
        if is_long and _is_deep(event):
            return None
        if b"\\u0000" in line:  # Postgres keeps no such character
            event = _without_nul(event)
        return {
            "kind": event["kind"],
            "attempt": _whole(event["attempt"], LARGEST_STEP),
            "t": _moment(event["t"]),
            **SHAPES[event["kind"]](event),
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _is_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other beyond what is passed on."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            each
            for outer in level
            for each in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(each, dict | list)
        ]
        if not level:
            return False
    return True


def metric_row(event: Json) -> MetricRow:
    """The point of a metrics event."""
    return MetricRow(event["step"], event["t"], event["values"])


def body(event: Json) -> Json:
    """What pages get of an event: its own fields."""
    return {key: value for key, value in event.items() if key not in ("kind", "attempt", "t")}


def _metrics(event: Json) -> Json:
    values = {
        key: float(value)
        for key, value in event["values"].items()
        if isinstance(value, int | float | str) and len(key) <= LONGEST_KEY
    }
    if len(values) > MOST_KEYS:
        raise ValueError("too many keys")
    return {"step": _whole(event["step"], LARGEST_STEP), "values": values}


def _progress(event: Json) -> Json:
    return {
        "stage": _name(event["stage"], LONGEST_STAGE),
        "done": _finite(event["done"]),
        "total": _finite(event["total"]),
        "note": str(event.get("note", ""))[:LONGEST_NOTE],
    }


def _stage(event: Json) -> Json:
    if event["status"] not in ("started", "completed", "skipped"):
        raise ValueError("unknown status")
    told = {"stage": _name(event["stage"], LONGEST_STAGE), "status": event["status"]}
    return {**told, "seconds": _finite(event["seconds"])} if "seconds" in event else told


def _artifact(event: Json) -> Json:
    name = _name(event["name"])
    if event["path"] != f"artifacts/{name}" or "/" in name or name.startswith("."):
        raise ValueError("an artifact lies in artifacts/<name>")
    return {
        "name": name,
        "artifact_kind": str(event["artifact_kind"])[:32],
        "path": event["path"],
        "bytes": _whole(event["bytes"]),
        "sha256": str(event["sha256"])[:64],
        "step": _whole(event.get("step", 0), LARGEST_STEP),
    }


def _end(event: Json) -> Json:
    if event["outcome"] not in ("succeeded", "failed", "stopped"):
        raise ValueError("unknown outcome")
    values = event.get("values", {})
    return {
        "outcome": event["outcome"],
        "cause": str(event.get("cause", "")),
        "message": str(event.get("message", "")),
        "values": values if isinstance(values, dict) else {},
        "traceback": str(event.get("traceback", ""))[-20_000:],
    }


def _shown(event: Json) -> Json:
    return {**body(event), "name": _name(event["name"])}


def _endpoint(event: Json) -> Json:
    if event["state"] not in ("starting", "testing", "open", "closed"):
        raise ValueError("unknown state of an endpoint")
    told: Json = {
        name: str(event[name])[:LONGEST_NOTE] for name in ("engine", "model") if name in event
    }
    if "closes_in_seconds" in event:
        told["closes_in_seconds"] = _finite(event["closes_in_seconds"])
    return {"state": event["state"], **told}


def _plain(event: Json) -> Json:
    return body(event)


def _stepped(event: Json) -> Json:
    return {**body(event), "step": _whole(event["step"], LARGEST_STEP)}


SHAPES: Mapping[str, Callable[[Json], Json]] = {
    "environment": _plain,
    "stage": _stage,
    "metrics": _metrics,
    "progress": _progress,
    "resumed": _stepped,
    "checkpoint": _stepped,
    "table": _shown,
    "samples": _shown,
    "heatmap": _shown,
    "plot": _shown,
    "endpoint": _endpoint,
    "artifact": _artifact,
    "end": _end,
}


def _whole(value: Any, largest: int = LARGEST_WHOLE) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ValueError("not a whole number")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _moment(value: Any) -> float:
    seconds = _finite(value)
    if not 0 <= seconds <= LATEST:
        raise ValueError("not a time")
    return seconds


def _name(value: Any, longest: int = LONGEST_NAME) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise ValueError("not a name")
    return value


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value
