"""Whether there is room for a run: on any device, and on the disk."""

import shutil
from collections.abc import Mapping
from typing import Any

from app.errors import FieldError, InvalidInput, Unavailable
from app.i18n import N_
from app.runs.reasons import gibibytes
from app.settings import get_settings
from labs.contract import Lab, Params
from labs.models import ModelFacts
from labs.rundir import CHECKPOINTS_KEPT

Json = dict[str, Any]
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


def need_disk(lab: Lab, facts: ModelFacts, params: Params) -> None:
    """Refuse a run whose checkpoints and artifacts the disk could not take."""
    settings = get_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    if free < settings.min_free_bytes:
        raise Unavailable(
            N_("The disk is nearly full ({free} left), so no new run is taken. Tell an administrator."),
            free=gibibytes(free),
        )  # fmt: skip
    need = disk_bytes(lab, facts, params)
    if free < settings.min_free_bytes + need:
        raise Unavailable(
            N_("This run would leave about {need} of checkpoints and artifacts, and {free} of the disk are left, of which {kept} stay free. Tell an administrator, or choose fewer stages or a smaller model."),
            need=gibibytes(need), free=gibibytes(free), kept=gibibytes(settings.min_free_bytes),
        )  # fmt: skip


def disk_bytes(lab: Lab, facts: ModelFacts, params: Params) -> int:
    """What a run would leave: checkpoints while it trains, artifacts for good. An estimate."""
    count = getattr(params, "trainable_parameters", None)
    trained = int(count(facts)) if count else 0
    artifacts = trained * WEIGHT_BYTES
    if "merged" in lab.produces:
        artifacts += facts.bytes
    return WRITTEN_AT_ONCE * trained * CHECKPOINT_BYTES + artifacts + WORDS_BYTES
