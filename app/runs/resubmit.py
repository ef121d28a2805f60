"""A run that has ended, queued again in one of the shapes that its page offers."""

import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound
from app.i18n import N_
from app.models import Run, User
from app.runs.choices import Choice, find_choice, lab_and_params
from app.runs.costs import MEMORY_CAUSES
from app.runs.kept import latest_checkpoint
from app.runs.queries import get_run
from app.runs.reasons import reason_of
from app.runs.submit import Submission, submit
from app.settings import get_settings

Json = dict[str, Any]
PLACE_KEPT_FOR = timedelta(hours=1)
LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Place:
    """Whether a new run may stand where the failed one stood; `reason` says why, or why not."""

    is_kept: bool
    reason: Json
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Resubmitted:
    """The new run, and a sentence on the place in the queue where there was one to take."""

    run: Run
    reason: Json | None


def resubmit(
    session: Session, actor: User, run_id: UUID, name: str, key: str | None = None
) -> Resubmitted:
    """Queue the run again as the choice of that name, in the transaction of the caller.

    A run that ran out of memory gives its place in the queue to the first one that follows it.

    Raises:
        Forbidden: If the run is somebody else's.
        Conflict: If it is not over, or its parameters no longer fit the lab.
        InvalidInput: If there is no such choice, or it could not run here.
    """
    run = get_run(session, actor, run_id)
    _check(actor, run)
    # Two that come at once must not both take the one place.
    still = select(Run.id).where(Run.id == run_id, Run.deleted_at.is_(None))
    if session.scalar(still.with_for_update()) is None:
        raise NotFound(N_("There is no such run."))
    choice = _find(run, name)
    place = place_of(session, run)
    new = submit(session, actor, _submission(run, choice, place, key))
    if choice.continues and new.attempt == 0:
        _hand_over_checkpoint(run.id, new.id)
    if place is not None and new.retry_of_id == run.id:
        place = Place(True, reason_of(N_("It keeps the place in the queue of the run before it.")))
    return Resubmitted(new, place.reason if place else None)


def place_of(session: Session, run: Run) -> Place | None:
    """The place of a run that ran out of memory; None for runs that ended otherwise."""
    if run.cause not in MEMORY_CAUSES or run.finished_at is None:
        return None
    taken_by = session.scalar(select(Run.name).where(Run.retry_of_id == run.id))
    if taken_by is not None:
        told = N_(
            "Its place in the queue was already taken by “{name}”; another run goes to the end."
        )
        return Place(False, reason_of(told, name=taken_by))
    until = run.finished_at + PLACE_KEPT_FOR
    if clock.now() > until:
        told = N_("Its place in the queue was kept for an hour; a new run goes to the end.")
        return Place(False, reason_of(told))
    told = N_("The next run keeps the place in the queue that this one had.")
    return Place(True, reason_of(told), until)


def _check(actor: User, run: Run) -> None:
    if run.owner_id != actor.id:
        raise Forbidden(
            N_("Only its owner can start a run again. Anybody may change a copy of it.")
        )
    if not run.state.is_over:
        raise Conflict(N_("This run is not over yet."))


def _find(run: Run, name: str) -> Choice:
    known = lab_and_params(run)
    if known is None:
        raise Conflict(N_("The lab has changed since this run; its parameters no longer fit."))
    choice = find_choice(run, known[1], name)
    if choice is None:
        told = N_("This run offers no variant “{name}”.")
        raise InvalidInput([FieldError("variant", told, {"name": name})])
    if choice.continues and latest_checkpoint(run.id) is None:
        raise Conflict(N_("The checkpoints of this run are no longer kept."))
    return choice


def _submission(run: Run, choice: Choice, place: Place | None, key: str | None) -> Submission:
    keeps = place is not None and place.is_kept
    return Submission(
        lab=run.lab,
        params={**run.params, **choice.changes},
        stages=[str(stage) for stage in run.stages],
        base_model=str(run.base_model_id),
        dataset=str(run.dataset_id),
        seed=run.seed,
        parent_run=run.parent_run_id,
        name=_following(run.name),
        idempotency_key=key,
        retry_of=run.id if keeps else None,
        queued_at=run.queued_at if keeps else None,
        reserve_bytes=choice.reserve_bytes,
    )


def _following(name: str) -> str:
    """ "Mine" is followed by "Mine (2)", and that by "Mine (3)"."""
    stem, _bracket, rest = name.rpartition(" (")
    number = rest[:-1]
    if not (stem and rest.endswith(")") and number.isdecimal()):
        stem, number = name, "1"
    ending = f" ({int(number) + 1})"
    return stem[: LONGEST_NAME - len(ending)] + ending


def _hand_over_checkpoint(source: UUID, target: UUID) -> None:
    """The new run finds the newest checkpoint as its own: the same files, not copied."""
    found = latest_checkpoint(source)
    assert found is not None, f"run {source} was checked to have a checkpoint"
    folder = get_settings().run_dir(target) / "checkpoints" / found[1].name
    if not folder.exists():
        shutil.copytree(found[1], folder, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, Path(target))
