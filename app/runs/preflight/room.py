"""Whether there is room for a run: on any device, and on the disk."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import FieldError, InvalidInput, Unavailable
from app.i18n import N_
from app.runs.reasons import gibibytes
from app.settings import get_settings
from labs.contract import Lab, Params
from labs.models import ModelFacts
from labs.rundir import CHECKPOINTS_KEPT

Json = dict[str, Any]
Work = tuple[Lab, ModelFacts, Params]
# A trained number in a checkpoint: itself, its two moments, and the best value so far.
CHECKPOINT_BYTES = 16
WEIGHT_BYTES = 4
# A new checkpoint is written whole before an old one goes.
WRITTEN_AT_ONCE = CHECKPOINTS_KEPT + 1
# Log, events, samples, notebook.
WORDS_BYTES = 16 << 20


def must_fit(estimate: Json) -> None:
    """Refuse what no registered device could ever hold, with what would fit the largest.

    Without any device a run may wait for one.
    """
    devices = estimate["devices"]
    if not devices or any(device["fits"] for device in devices):
        return
    largest = max(devices, key=lambda device: int(device["memory_bytes"]))
    ways = fitting(estimate)
    told = (
        N_("This run needs about {need} of memory; the largest device, {device}, has {total}. One of these would fit:")
        if ways
        else N_("This run needs about {need} of memory; the largest device, {device}, has {total}. Use a smaller batch, shorter rows or a smaller base model.")
    )  # fmt: skip
    values = {
        "need": gibibytes(estimate["memory_bytes"]),
        "device": largest["name"],
        "total": gibibytes(largest["memory_bytes"]),
    }
    raise InvalidInput([FieldError("", told, values)], alternatives=ways)


def fitting(estimate: Mapping[str, Any]) -> list[Json]:
    """The alternatives that a device could hold; all of them where there is none yet."""
    return [each for each in estimate["alternatives"] if each["fits"]]


def need_disk(*works: Work) -> None:
    """Refuse runs whose checkpoints and artifacts the disk could not take together."""
    settings = get_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    if free < settings.min_free_bytes:
        raise Unavailable(
            N_("The disk is nearly full ({free} left), so no new run is taken. Tell an administrator."),
            free=gibibytes(free),
        )  # fmt: skip
    need = _together(works)
    if free < settings.min_free_bytes + need:
        told = (
            N_("This run would leave about {need} of checkpoints and artifacts, and {free} of the disk are left, of which {kept} stay free. Tell an administrator, or choose fewer stages or a smaller model.")
            if len(works) == 1
            else N_("These {runs} runs would leave about {need} of checkpoints and artifacts, and {free} of the disk are left, of which {kept} stay free. Tell an administrator, or start fewer of them.")
        )  # fmt: skip
        kept = gibibytes(settings.min_free_bytes)
        raise Unavailable(
            told, runs=len(works), need=gibibytes(need), free=gibibytes(free), kept=kept
        )


def disk_bytes(lab: Lab, facts: ModelFacts, params: Params) -> int:
    """What a run would leave: checkpoints while it trains, artifacts for good. An estimate."""
    checkpoints = WRITTEN_AT_ONCE * _trained(facts, params) * CHECKPOINT_BYTES
    return checkpoints + kept_bytes(lab, facts, params)


def kept_bytes(lab: Lab, facts: ModelFacts, params: Params) -> int:
    """What a run would leave for good. An estimate.

    A lab that does not train says it with a method `left_bytes(facts)` of its parameters.
    """
    left = getattr(params, "left_bytes", None)
    if left:
        return int(left(facts)) + WORDS_BYTES
    artifacts = _trained(facts, params) * WEIGHT_BYTES
    if "merged" in lab.produces:
        artifacts += facts.bytes
    return artifacts + WORDS_BYTES


def _together(works: Sequence[Work]) -> int:
    """All that stays, and the checkpoints of the largest: they train one after another."""
    kept = [kept_bytes(*work) for work in works]
    checkpoints = [disk_bytes(*work) - left for work, left in zip(works, kept, strict=True)]
    return sum(kept) + max(checkpoints, default=0)


def _trained(facts: ModelFacts, params: Params) -> int:
    count = getattr(params, "trainable_parameters", None)
    return int(count(facts)) if count else 0
