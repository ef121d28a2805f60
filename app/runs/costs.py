"""What a run would need, corrected by what earlier runs of the lab needed, and where it fits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.devices.queries import list_devices
from app.i18n import N_
from app.models import Device, LanguageModel, Run, RunState
from app.runs.reasons import gibibytes
from labs import estimate as labs_estimate
from labs.contract import Lab, Params
from labs.models import ModelFacts

Json = dict[str, Any]
REMEMBERED_RUNS = 20
# A correction beyond this says that the runs were not alike.
LARGEST_CORRECTION = 4.0


@dataclass(frozen=True, slots=True)
class Experience:
    """What earlier runs took, as a factor on what was predicted for them."""

    runs: int
    memory: float
    seconds: float


def estimate(
    session: Session,
    lab: Lab,
    params: Params,
    facts: ModelFacts,
    model: LanguageModel,
    lengths: labs_estimate.Lengths | None = None,
    reserve_bytes: int | None = None,
) -> Json:
    """Memory by part, time as a range, and for each device whether it fits."""
    devices = list_devices(session)
    kind: labs_estimate.Device = (
        "cuda" if any(device.kind == "cuda" for device in devices) else "cpu"
    )
    predicted = labs_estimate.estimate(lab, facts, params, kind)
    learned = _experience(session, lab, model)
    need = max(int(predicted.total_bytes * learned.memory), reserve_bytes or 0)
    seconds = (predicted.seconds_low, predicted.seconds_high)
    options = labs_estimate.alternatives(lab, facts, params, kind)
    return {
        "device_kind": kind,
        "memory_bytes": need,
        "predicted_bytes": predicted.total_bytes,
        "parts": predicted.parts,
        "seconds": [each * learned.seconds for each in seconds],
        "predicted_seconds": list(seconds),
        "measured_runs": learned.runs,
        "notes": [asdict(note) for note in predicted.notes],
        "devices": [_fit(device, need) for device in devices],
        "alternatives": [
            {
                "title": option.title,
                "changes": option.changes,
                "memory_bytes": int(option.estimate.total_bytes * learned.memory),
            }
            for option in options
        ],
    }


def _experience(session: Session, lab: Lab, model: LanguageModel) -> Experience:
    """The latest runs of this lab on this base model."""
    runs = session.execute(
        select(Run.peak_memory_bytes, Run.started_at, Run.finished_at, Run.estimate)
        .where(
            Run.lab == lab.slug,
            Run.base_model_id == model.id,
            Run.state == RunState.SUCCEEDED,
            Run.attempt == 1,
        )
        .order_by(Run.id.desc())
        .limit(REMEMBERED_RUNS)
    ).all()
    memory, seconds = [], []
    for peak, started_at, finished_at, stored in runs:
        if peak and stored.get("predicted_bytes"):
            memory.append(peak / stored["predicted_bytes"])
        if started_at and finished_at and stored.get("predicted_seconds"):
            middle = sum(stored["predicted_seconds"]) / 2
            seconds.append((finished_at - started_at).total_seconds() / middle)
    return Experience(len(runs), _factor(memory), _factor(seconds))


def _factor(ratios: Sequence[float]) -> float:
    if not ratios:
        return 1.0
    return min(LARGEST_CORRECTION, max(1 / LARGEST_CORRECTION, median(ratios)))


def _fit(device: Device, need: int) -> Json:
    fits = need <= device.memory_bytes
    told = N_("It fits: {need} of {total}.") if fits else N_("It does not fit: {need} of {total}.")
    return {
        "name": device.name,
        "title": device.title,
        "memory_bytes": device.memory_bytes,
        "fits": fits,
        "reason": {
            "message": told,
            "values": {"need": gibibytes(need), "total": gibibytes(device.memory_bytes)},
        },
    }
