"""A shape of the same training that fits, where one change alone is not enough."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.i18n import N_
from app.runs.costs import Pricing
from labs.contract import LabError, Params

Json = dict[str, Any]
MOST_ACCUMULATION = 256
SHORTEST_ROWS = 16
LAST_RESORT = "smallest"


def with_ways(estimate: Json, pricing: Pricing, params: Params) -> Json:
    """The estimate; where neither the run nor an alternative fits any device, with what would."""
    devices = estimate["devices"]
    total = max((int(device["memory_bytes"]) for device in devices), default=None)
    needs = [estimate["memory_bytes"], *(each["memory_bytes"] for each in estimate["alternatives"])]
    if total is None or min(needs) <= total:
        return estimate
    return {**estimate, "alternatives": [*estimate["alternatives"], *_ways(pricing, params, total)]}


def _ways(pricing: Pricing, params: Params, total: int) -> Iterator[Json]:
    """For each recipe the largest batch with which the run fits; the last one only in need."""
    any_fits = False
    for name, title, changes in _recipes(params):
        if name == LAST_RESORT and any_fits:
            return
        found = next((way for way in _smaller(pricing, params, changes) if way[1] <= total), None)
        if found is not None:
            any_fits = True
            changed, need = found
            yield {
                "name": name,
                "title": title,
                "changes": changed,
                "memory_bytes": need,
                "fits": True,
            }


def _recipes(params: Params) -> Iterator[tuple[str, str, Json]]:
    if not {"batch_size", "gradient_accumulation"} <= type(params).model_fields.keys():
        return
    yield "small_batch", N_("A smaller batch, more accumulation: the same updates"), {}
    checkpointed = {"gradient_checkpointing": True}
    if getattr(params, "gradient_checkpointing", None) is False:
        yield "small_checkpointed", N_("A smaller batch and gradient checkpointing"), checkpointed
    if getattr(params, "max_length", 0) > SHORTEST_ROWS:
        shorter = {**checkpointed, "max_length": SHORTEST_ROWS}
        yield (
            LAST_RESORT,
            N_("A smaller batch, gradient checkpointing and very short rows"),
            shorter,
        )


def _smaller(
    pricing: Pricing, params: Params, more: Mapping[str, Any]
) -> Iterator[tuple[Json, int]]:
    """Changes and the memory they need, the batch halved again and again."""
    given = params.model_dump()
    batch, accumulation = given["batch_size"], given["gradient_accumulation"]
    while batch > 1:
        batch, accumulation = batch // 2, min(MOST_ACCUMULATION, accumulation * 2)
        changes = {"batch_size": batch, "gradient_accumulation": accumulation, **more}
        need = _need(pricing, params, changes)
        if need is not None:
            yield changes, need


def _need(pricing: Pricing, params: Params, changes: Json) -> int | None:
    try:
        changed = type(params).model_validate({**params.model_dump(), **changes})
    except (ValueError, LabError):  # they do not go together
        return None
    if pricing.lab.accepts.refuse(pricing.facts, changed) is not None:
        return None
    return int(pricing.estimate(changed)["memory_bytes"])
