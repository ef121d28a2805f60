"""Time predicted and measured, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.metrics.store import LatestValue
from app.models import Attempt, Run
from app.runs.stages import StageLine

Json = dict[str, Any]
STEP_SECONDS = "time/step_seconds"


@dataclass(frozen=True, slots=True)
class TimeCard:
    """Seconds that were estimated and measured. Rendered by runs/show/_costs.html.

    `device` counts every attempt; `stages` are those that were completed.
    """

    low: float | None
    high: float | None
    measured: float | None
    device: float
    stages: Sequence[tuple[str, float]]
    steps_per_second: float | None

    def as_json(self) -> Json:
        return {
            "predicted_seconds": [self.low, self.high],
            "measured_seconds": self.measured,
            "device_seconds": self.device,
            "stages": dict(self.stages),
            "steps_per_second": self.steps_per_second,
        }


def time_card(
    run: Run,
    attempts: Sequence[Attempt],
    stages: Sequence[StageLine],
    values: Mapping[str, LatestValue],
    now: datetime,
) -> TimeCard:
    low, high = run.seconds_low, run.seconds_high
    if low is None and run.estimate.get("seconds"):
        low, high = run.estimate["seconds"]
    step = values.get(STEP_SECONDS)
    ended = run.finished_at or (now if run.state.is_live else None)
    # A result that was taken over took no time here.
    started = None if run.same_as_id else run.started_at
    return TimeCard(
        low=low,
        high=high,
        measured=(ended - started).total_seconds() if ended and started else None,
        device=sum(each.device_seconds for each in attempts),
        stages=[
            (stage.title, stage.seconds)
            for stage in stages
            if stage.status == "done" and stage.seconds is not None
        ],
        steps_per_second=1 / step.value if step and step.value > 0 else None,
    )
