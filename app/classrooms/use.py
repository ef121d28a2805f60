"""What a person has used of the devices, and what they still may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.classrooms.limits import TITLES
from app.i18n import gettext
from app.models import Classroom, Run, RunState, User
from app.runs.limits import DAY, person_limits
from app.runs.usage import device_seconds_since
from app.settings import get_settings


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit and how much of it is used; `most` is None without a limit."""

    title: str
    used: float
    most: int | None
    is_time: bool = False

    @property
    def is_reached(self) -> bool:
        return self.most is not None and self.used >= self.most


def own_standing(
    session: Session, actor: User, classroom: Classroom | None, now: datetime
) -> Sequence[Standing]:
    """What a person uses of each limit that holds for them."""
    count = _unfinished(session, actor)
    live = sum(number for state, number in count.items() if state.is_live)
    seconds = device_seconds_since(session, now - DAY, owner=actor.id, now=now)
    most = person_limits(classroom, get_settings())
    title = {name: gettext(told) for name, told in TITLES.items()}
    return [
        Standing(title["max_waiting_per_person"], count.get(RunState.QUEUED, 0), most.waiting),
        Standing(title["max_running_per_person"], live, most.running),
        Standing(title["max_device_seconds_per_person"], seconds, most.device_seconds, True),
    ]


def _unfinished(session: Session, actor: User) -> dict[RunState, int]:
    states = (RunState.QUEUED, RunState.ASSIGNED, RunState.RUNNING)
    counted = (
        select(Run.state, func.count())
        .where(Run.owner_id == actor.id, Run.state.in_(states))
        .group_by(Run.state)
    )
    return dict(session.execute(counted).all())
