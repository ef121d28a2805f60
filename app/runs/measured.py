"""When a live run ends, judged by how fast it has gone so far. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.runs.places import Range

# The part of a stage that must be done before its speed is believed.
BELIEVED = 0.05
# How much longer than at the speed so far a stage may take.
SLOWER = 1.25


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: stages before, the present one with the part done of it, stages after."""

    stages: int
    after: int
    done: float
    stage_started_at: datetime


def ends(
    seconds: Range | None, assigned_at: datetime | None, progress: Progress | None, now: datetime
) -> tuple[datetime, datetime] | None:
    """From when to when it is expected to end.

    The present stage counts at its own speed; each later one as its share of the estimate.
    Before the speed can be believed, the estimate counts from the start.
    """
    if seconds is None or assigned_at is None:
        return None
    if progress is None or progress.done < BELIEVED:
        low, high = (assigned_at + timedelta(seconds=each) for each in seconds)
        return low, high
    spent = max(0.0, (now - progress.stage_started_at).total_seconds())
    stage = spent * (1 - progress.done) / progress.done
    later = progress.after / progress.stages
    least, most = stage + later * seconds[0], stage * SLOWER + later * seconds[1]
    return now + timedelta(seconds=least), now + timedelta(seconds=max(least, most))
