"""Starting a sweep, and telling beforehand what it would take."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.groups.start import start_group
from app.i18n import sentence
from app.models import GroupKind, RunGroup, User
from app.runs.quota import Use, own_use, room
from app.runs.submit import Outlook, look_all
from app.sweeps.asked import Asked, spec_of
from app.sweeps.plan import Plan, group_name, plan_of


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep before it starts; `problems` say why it could not."""

    name: str
    outlook: Outlook | None
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a sweep would take in all; seconds and bytes are estimated.

    Attributes:
        seconds: On devices, of all runs that hold, from and to; without those that are taken over.
        memory_bytes: Of the largest run.
        finished: Runs whose result is there already, of the same work.
        reuse: Whether such results are taken over instead of being measured again.
        room: How many runs may still be queued; None where nothing limits them.
    """

    runs: int
    repeated: int
    planned: Sequence[PlannedRun]
    seconds: tuple[float, float]
    memory_bytes: int
    finished: int
    reuse: bool
    room: int | None
    use: Use


def start_sweep(
    session: Session, actor: User, asked: Asked, idempotency_key: str | None = None
) -> RunGroup:
    """Queue every run of the sweep, or none, in the transaction of the caller.

    Raises:
        InvalidInput: With every field that does not hold; those that vary as `vary.0.values`.
        Conflict, TooMany, Unavailable: As `start_group` does.
    """
    plan = plan_of(asked)
    with _at_what_varies(asked):
        return start_group(
            session,
            actor,
            GroupKind.SWEEP,
            group_name(asked),
            asked.base.lab,
            spec_of(asked, plan.values),
            plan.submissions,
            idempotency_key,
        )


def budget_of(session: Session, actor: User, asked: Asked) -> Budget:
    """What the sweep would take.

    Raises:
        InvalidInput: With every field that does not hold.
    """
    plan = plan_of(asked)
    planned = _planned(session, actor, plan)
    known = [each.outlook for each in planned if each.outlook is not None]
    computed = [each for each in known if not (asked.base.reuse and each.same_work)]
    ranges = [each.estimate["seconds"] for each in computed]
    return Budget(
        runs=len(plan.submissions),
        repeated=plan.repeated,
        planned=planned,
        seconds=(sum(low for low, _high in ranges), sum(high for _low, high in ranges)),
        memory_bytes=max((each.estimate["memory_bytes"] for each in known), default=0),
        finished=sum(each.same_work is not None for each in known),
        reuse=asked.base.reuse,
        room=room(session, actor),
        use=own_use(session, actor),
    )


def _planned(session: Session, actor: User, plan: Plan) -> list[PlannedRun]:
    looked = look_all(session, actor, plan.submissions)
    return [
        PlannedRun(each.name, None, [sentence(e.message, e.values) for e in found.errors])
        if isinstance(found, InvalidInput)
        else PlannedRun(each.name, found, ())
        for each, found in zip(plan.submissions, looked, strict=True)
    ]


@contextmanager
def _at_what_varies(asked: Asked) -> Iterator[None]:
    """What is refused of a parameter that varies is told where its values are."""
    places = {each.parameter: f"vary.{at}" for at, each in enumerate(asked.vary)}
    ends = {each.parameter: "to" if each.span else "values" for each in asked.vary}
    try:
        yield
    except InvalidInput as refused:
        errors = [
            replace(error, field=f"{places[error.field]}.{ends[error.field]}")
            if error.field in places
            else error
            for error in refused.errors
        ]
        raise InvalidInput(errors, refused.message) from refused
