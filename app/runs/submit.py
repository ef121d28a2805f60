"""The one door through which runs come in: for the form, the API and tests."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.access import classroom_of
from app.database import after_commit
from app.errors import TooMany
from app.i18n import N_, gettext
from app.models import Run, RunState, User, new_id
from app.runs import lifecycle, preflight, queries
from app.runs.dispatch import fill_devices
from app.runs.reasons import reason_of
from app.settings import get_settings
from labs import registry

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Submission:
    """What a person asks for. `base_model` and `dataset` are names or ids; None is the lab's own."""

    lab: str
    params: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[str] | None = None
    base_model: str | None = None
    dataset: str | None = None
    seed: int | None = None
    parent_run: UUID | None = None
    name: str = ""
    idempotency_key: str | None = None
    # Of a run that ran out of memory: whose place in the queue this one takes, and which that was.
    retry_of: UUID | None = None
    queued_at: datetime | None = None
    # The least memory to reserve, where more than the estimate was asked for.
    reserve_bytes: int | None = None


def submit(session: Session, actor: User, submission: Submission) -> Run:
    """Check a submission and queue it, in the transaction of the caller.

    The same idempotency key gives the same run again.

    Raises:
        InvalidInput: With every field that does not hold.
        TooMany: If the person's queue is full.
        Unavailable: If the disk is nearly full.
    """
    _one_at_a_time(session, actor)
    if known := _earlier(session, actor, submission.idempotency_key):
        return known
    _check_quota(session, actor)
    checked = preflight.check(session, actor, submission)
    run = _new_run(session, actor, submission, checked)
    lifecycle.insert_queued(session, run)
    after_commit(session, fill_devices)
    return run


def estimate(session: Session, actor: User, submission: Submission) -> Json:
    """What the run would need and where it would fit, without queueing it."""
    return preflight.check(session, actor, submission, for_queue=False).estimate


def _one_at_a_time(session: Session, actor: User) -> None:
    """Two submissions of one person must not both find room for the last run they may queue."""
    session.execute(select(User.id).where(User.id == actor.id).with_for_update())


def _earlier(session: Session, actor: User, key: str | None) -> Run | None:
    if key is None:
        return None
    return session.scalar(select(Run).where(Run.owner_id == actor.id, Run.idempotency_key == key))


def _check_quota(session: Session, actor: User) -> None:
    limit = get_settings().max_waiting_per_person
    waiting = select(func.count()).where(Run.owner_id == actor.id, Run.state == RunState.QUEUED)
    count = session.scalar(waiting) or 0
    if count >= limit:
        raise TooMany(
            N_(
                "You have {count} runs waiting, which is the most one person may queue. Wait until one starts, or cancel one."
            ),
            count=count,
        )


def _new_run(
    session: Session, actor: User, submission: Submission, checked: "preflight.Checked"
) -> Run:
    now = clock.now()
    seed = submission.seed
    return Run(
        id=new_id(),
        owner_id=actor.id,
        classroom_id=classroom_of(session, actor),
        idempotency_key=submission.idempotency_key,
        name=submission.name.strip() or _default_name(session, actor, checked.lab.slug),
        lab=checked.lab.slug,
        code_version=registry.code_version(checked.lab.slug),
        stages=list(checked.stages),
        params=checked.params.model_dump(mode="json"),
        seed=secrets.randbelow(2**31) if seed is None else seed,
        base_model_id=checked.base_model.id,
        dataset_id=checked.dataset.id,
        parent_run_id=submission.parent_run,
        retry_of_id=submission.retry_of,
        estimate=checked.estimate,
        memory_bytes=checked.estimate["memory_bytes"],
        seconds_low=checked.estimate["seconds"][0],
        seconds_high=checked.estimate["seconds"][1],
        created_at=now,
        queued_at=submission.queued_at or now,
        # The last place until the dispatcher, after this commit, knows better.
        position=queries.count_waiting(session) + 1,
        reason=reason_of(N_("Just arrived; a place is being looked for.")),
    )


def _default_name(session: Session, actor: User, slug: str) -> str:
    earlier = select(func.count()).where(Run.owner_id == actor.id, Run.lab == slug)
    number = (session.scalar(earlier) or 0) + 1
    return f"{gettext(registry.get(slug).title)} #{number}"[:120]
