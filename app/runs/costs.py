"""What a run would need, corrected by what earlier runs of the lab needed, and where it fits."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.devices.queries import list_devices
from app.i18n import N_
from app.models import Dataset, Device, LanguageModel, Run, RunState
from app.runs.scheduling import gibibytes
from labs.contract import Lab, Params
from labs.models import ModelFacts

Json = dict[str, Any]
REMEMBERED_RUNS = 20
# A correction beyond this says that the runs were not alike.
LARGEST_CORRECTION = 4.0
# An interpreter with torch loaded; what a trainer on the CPU takes before it has a model.
PROCESS_BYTES = 150 << 20


def estimate(
    session: Session,
    lab: Lab,
    params: Params,
    facts: ModelFacts,
    model: LanguageModel,
    dataset: Dataset,
) -> Json:
    """Memory by part, time as a range, and for each device whether it fits."""
    parts = {"weights": facts.parameters * 4, "process": PROCESS_BYTES}
    predicted = sum(parts.values())
    ratios = _measured_ratios(session, lab, model)
    factor = _correction(ratios)
    need = int(predicted * factor)
    return {
        "memory_bytes": need,
        "predicted_bytes": predicted,
        "measured_runs": len(ratios),
        "parts": parts,
        "seconds": None,
        "devices": [_fit(device, need) for device in list_devices(session)],
        "alternatives": [],
    }


def _measured_ratios(session: Session, lab: Lab, model: LanguageModel) -> Sequence[float]:
    """Measured peak over prediction, of the latest runs of this lab on this base model."""
    rows = session.execute(
        select(Run.peak_memory_bytes, Run.estimate)
        .where(
            Run.lab == lab.slug,
            Run.base_model_id == model.id,
            Run.state == RunState.SUCCEEDED,
            Run.peak_memory_bytes.is_not(None),
        )
        .order_by(Run.id.desc())
        .limit(REMEMBERED_RUNS)
    )
    return [
        peak / stored["predicted_bytes"] for peak, stored in rows if stored.get("predicted_bytes")
    ]


def _correction(ratios: Sequence[float]) -> float:
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
