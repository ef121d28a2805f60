"""The verdict of a dataset's check, as it is stored and shown."""

from dataclasses import asdict
from typing import Any

from labs.datasets import Verdict

SHOWN_CHARACTERS = 2000


def stored_verdict(verdict: Verdict) -> dict[str, Any]:
    """What the dataset's row keeps: splits, warnings, numbers and a few rows to look at."""
    return {
        "format_title": verdict.format_title,
        "splits": verdict.splits,
        "warnings": [{"message": each.message, "values": each.values} for each in verdict.warnings],
        "profile": verdict.profile.stored(),
        "preview": [_shortened(asdict(example)) for example in verdict.preview],
    }


def _shortened(value: Any) -> Any:
    """The same, with long texts cut: a preview is for the eye."""
    if isinstance(value, str):
        return value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…"
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value]
    return value
