"""What a run would need, corrected by what earlier runs of the lab needed, and where it fits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from app.devices.queries import list_devices
from app.i18n import N_
from app.models import Device, LanguageModel, Run, RunState
from app.runs.reasons import gibibytes
from labs import estimate as labs_estimate
from labs.contract import Cause, Lab, Params
from labs.estimate import FORMULA, Lengths
from labs.models import ModelFacts

Json = dict[str, Any]
MEMORY_CAUSES = frozenset({Cause.OUT_OF_MEMORY, Cause.HOST_OUT_OF_MEMORY})
REMEMBERED_RUNS = 20
# A correction beyond these says that the runs were not alike.
SMALLEST_CORRECTION, LARGEST_CORRECTION = 0.5, 4.0
# Kept free beyond the need. A run ends when it passes its reservation, so the reservation must
# hold what formulas do not count: fragments of the allocator, and runs a little unlike the others.
# Of the bundled models' configurations (benchmarks/estimate.py) none needed more.
MARGIN_SHARE = 0.25
SMALLEST_MARGIN = 128 << 20


@dataclass(frozen=True, slots=True)
class Experience:
    """What earlier runs took, as a factor on what was predicted for them."""

    runs: int
    memory: float
    seconds: float


@dataclass(frozen=True)
class Pricing:
    """Prices the same work in several shapes; the database is asked once for all of them."""

    session: Session
    lab: Lab
    facts: ModelFacts
    model: LanguageModel
    lengths: Lengths | None = None

    def estimate(self, params: Params, reserve_bytes: int | None = None) -> Json:
        """Memory by part, time as a range, and for each device whether it fits.

        `memory_bytes` is the reservation, which the scheduler counts with and the run is capped
        at: the corrected need and a margin, or more where more was asked for.
        """
        predicted = labs_estimate.estimate(self.lab, self.facts, params, self.kind, self.lengths)
        learned = self.experience
        seen = self._seen(predicted.parts)
        corrected = max(int(predicted.total_bytes * learned.memory), seen)
        reserved = max(corrected + margin(corrected), reserve_bytes or 0)
        seconds = (predicted.seconds_low, predicted.seconds_high)
        return {
            "formula": FORMULA,
            "device_kind": self.kind,
            "memory_bytes": reserved,
            "predicted_bytes": predicted.total_bytes,
            "corrected_bytes": corrected,
            "margin_bytes": reserved - corrected,
            "seen_bytes": seen,
            "parts": predicted.parts,
            "lengths": asdict(self.lengths) if self.lengths else None,
            "seconds": [each * learned.seconds for each in seconds],
            "predicted_seconds": list(seconds),
            "measured_runs": learned.runs,
            "notes": [asdict(note) for note in predicted.notes],
            "devices": [_fit(device, reserved) for device in self.devices],
        }

    def alternatives(self, params: Params) -> list[labs_estimate.Alternative]:
        """Shapes of the same training that need less memory."""
        return labs_estimate.alternatives(
            self.lab, self.facts, params, self.kind, lengths=self.lengths
        )

    @cached_property
    def devices(self) -> Sequence[Device]:
        return list_devices(self.session)

    @cached_property
    def kind(self) -> labs_estimate.Device:
        """What the figures are for: the GPUs, where there are any."""
        return "cuda" if any(device.kind == "cuda" for device in self.devices) else "cpu"

    @cached_property
    def experience(self) -> Experience:
        """The latest runs of this lab on this base model."""
        runs = self.session.execute(_succeeded(self.lab.slug, self.model.id)).all()
        memory = [
            run.peak_memory_bytes / run.estimate["predicted_bytes"]
            for run in runs
            if run.peak_memory_bytes
            and run.estimate.get("predicted_bytes")
            and self._is_comparable(run.estimate)
        ]
        return Experience(len(runs), _factor(memory), _time_factor(runs))

    @cached_property
    def _failures(self) -> Sequence[tuple[Json, int]]:
        """Estimates of the latest runs that ran out of memory, and what each had or took."""
        runs = self.session.execute(_out_of_memory(self.lab, self.model)).all()
        return [
            (stored, max(peak or 0, reserved))
            for peak, reserved, stored in runs
            if self._is_comparable(stored)
        ]

    def _seen(self, parts: Mapping[str, int]) -> int:
        """What a run of this very shape was seen to pass: it needs no less."""
        return max((seen for stored, seen in self._failures if stored["parts"] == parts), default=0)

    def _is_comparable(self, stored: Json) -> bool:
        return stored.get("formula") == FORMULA and stored.get("device_kind") == self.kind


def time_factor(session: Session, lab: str, model: UUID) -> float:
    """How much longer than predicted the latest runs of a lab on a base model took."""
    return _time_factor(session.execute(_succeeded(lab, model)).all())


def _time_factor(runs: Sequence[Row[Any]]) -> float:
    return _factor(
        [
            (run.finished_at - run.started_at).total_seconds() / (sum(predicted) / 2)
            for run in runs
            if run.started_at
            and run.finished_at
            and (predicted := run.estimate.get("predicted_seconds"))
        ]
    )


def estimate(pricing: Pricing, params: Params, reserve_bytes: int | None = None) -> Json:
    """What a run would need, where it fits, and what would need less."""
    return {
        **pricing.estimate(params, reserve_bytes),
        "alternatives": [_option(each, pricing) for each in pricing.alternatives(params)],
    }


def _option(alternative: labs_estimate.Alternative, pricing: Pricing) -> Json:
    need = _reserved(int(alternative.estimate.total_bytes * pricing.experience.memory))
    return {
        "name": alternative.name,
        "title": alternative.title,
        "changes": alternative.changes,
        "memory_bytes": need,
        "fits": can_hold([device.memory_bytes for device in pricing.devices], need),
    }


def can_hold(sizes: Sequence[int], need: int) -> bool:
    """Whether a device of these sizes could hold it; without any, a run may wait for one."""
    return not sizes or need <= max(sizes)


def margin(need: int) -> int:
    """What is kept free beyond a need."""
    return max(SMALLEST_MARGIN, int(need * MARGIN_SHARE))


def free_bytes(session: Session, devices: Sequence[Device]) -> dict[str, int]:
    """What is not reserved on each device now."""
    live = select(Run.device, func.sum(Run.memory_bytes)).where(
        Run.state.in_([RunState.ASSIGNED, RunState.RUNNING])
    )
    taken = {name: int(total) for name, total in session.execute(live.group_by(Run.device))}
    return {each.name: max(0, each.memory_bytes - taken.get(each.name, 0)) for each in devices}


def _succeeded(lab: str, model: UUID) -> Select[Any]:
    columns = (Run.peak_memory_bytes, Run.started_at, Run.finished_at, Run.estimate)
    return (
        select(*columns)
        .where(
            Run.lab == lab,
            Run.base_model_id == model,
            Run.state == RunState.SUCCEEDED,
            Run.attempt == 1,
            # Taken over from another run: nothing was measured here.
            Run.same_as_id.is_(None),
        )
        .order_by(Run.id.desc())
        .limit(REMEMBERED_RUNS)
    )


def _out_of_memory(lab: Lab, model: LanguageModel) -> Select[Any]:
    return (
        select(Run.peak_memory_bytes, Run.memory_bytes, Run.estimate)
        .where(
            Run.lab == lab.slug,
            Run.base_model_id == model.id,
            Run.state == RunState.FAILED,
            Run.cause.in_([cause.value for cause in MEMORY_CAUSES]),
        )
        .order_by(Run.id.desc())
        .limit(REMEMBERED_RUNS)
    )


def _reserved(need: int) -> int:
    return need + margin(need)


def _factor(ratios: Sequence[float]) -> float:
    if not ratios:
        return 1.0
    return min(LARGEST_CORRECTION, max(SMALLEST_CORRECTION, median(ratios)))


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
