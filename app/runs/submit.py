"""The one door through which runs come in: for the form, the API and tests."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.database import after_commit, commit, reading
from app.errors import InvalidInput
from app.i18n import N_, gettext
from app.models import Classroom, Run, User, new_id
from app.runs import held, lifecycle, preflight, queries, quota, same_work, taking
from app.runs.dispatch import fill_devices
from app.runs.preflight import Checked, Shared
from app.runs.reasons import reason_of
from app.runs.refusals import Refusals
from app.runs.same_work import Offer
from app.runs.sent_before import sent_before
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
    # Take a finished run of the same work over, where there is one.
    reuse: bool = False
    # The sweep or scoreboard that starts it, and its place there, from 0.
    group: tuple[UUID, int] | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a run before it is queued: its estimate, and a result it could take."""

    estimate: Json
    same_work: Offer | None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A submission that holds, its fingerprint, and the finished run that it takes over."""

    submission: Submission
    checked: Checked
    mark: str
    offer: Offer | None = None


def submit(session: Session, actor: User, submission: Submission) -> Run:
    """Check a submission and queue it, in the transaction of the caller.

    The same idempotency key gives the same run again. With `reuse`, a finished run of the same
    work is taken over instead, where there is one; then nothing is queued and no limit reached.

    Raises:
        InvalidInput: With every field that does not hold.
        Conflict: If the key has made another run.
        TooMany: If the person, or their class, has as much as they may have.
        Unavailable: If the disk is nearly full.
    """
    classroom = quota.take_turn(session, actor)
    if known := sent_before(session, actor, submission):
        return known
    ready = _ready(session, actor, submission, Shared(session, actor))
    return _queue(session, actor, classroom, [ready])[0]


def submit_all(
    session: Session, actor: User, classroom: Classroom | None, submissions: Sequence[Submission]
) -> list[Run]:
    """Queue all of these, or none; they are runs of one group and have no keys of their own.

    The caller has taken this person's turn (`quota.take_turn`), which gave the class.

    Raises:
        InvalidInput: With each field that does not hold in some of them, once.
        TooMany: If there is not room for all of them.
        Unavailable: If the disk could not take them all.
    """
    shared, refusals = Shared(session, actor), Refusals(len(submissions))
    ready = []
    for each in submissions:
        with refusals.noted(each.name):
            ready.append(_ready(session, actor, each, shared))
    refusals.tell()
    return _queue(session, actor, classroom, ready)


def settled(session: Session, run: Run) -> Run:
    """The run as the dispatcher left it, which looks once the run is committed: its place, or device."""
    commit(session)
    with reading() as fresh:
        return fresh.get_one(Run, run.id)


def look(session: Session, actor: User, submission: Submission) -> Outlook:
    """What the run would need and where it would fit, without queueing it."""
    ready = _marked(session, actor, submission, Shared(session, actor))
    return _outlook(session, actor, ready, {ready.mark})


def look_all(
    session: Session, actor: User, submissions: Sequence[Submission]
) -> list[Outlook | InvalidInput]:
    """The same of runs that would come together: of each what it needs, or what is wrong with it."""
    shared = Shared(session, actor)
    found: list[_Ready | InvalidInput] = []
    for each in submissions:
        try:
            found.append(_marked(session, actor, each, shared))
        except InvalidInput as refused:
            found.append(refused)
    done = same_work.done(session, [each.mark for each in found if isinstance(each, _Ready)])
    return [
        _outlook(session, actor, each, done) if isinstance(each, _Ready) else each for each in found
    ]


def _marked(session: Session, actor: User, submission: Submission, shared: Shared) -> _Ready:
    checked = preflight.check(session, actor, submission, shared)
    return _Ready(submission, checked, same_work.fingerprint(checked))


def _outlook(session: Session, actor: User, ready: _Ready, done: Collection[str]) -> Outlook:
    """With an offer where the mark is among those of finished runs."""
    offer = None
    if ready.mark in done:
        seed, dataset = ready.submission.seed, ready.checked.dataset
        offer = same_work.find(session, actor, ready.mark, seed, dataset)
    return Outlook(ready.checked.estimate, offer)


def _ready(session: Session, actor: User, submission: Submission, shared: Shared) -> _Ready:
    ready = _marked(session, actor, submission, shared)
    offer = _outlook(session, actor, ready, {ready.mark}).same_work if submission.reuse else None
    if offer is None:
        preflight.check_device(ready.checked)
    return replace(ready, offer=offer)


def _queue(
    session: Session, actor: User, classroom: Classroom | None, ready: Sequence[_Ready]
) -> list[Run]:
    held.hold(session, [each.checked for each in ready])
    computed = [each.checked for each in ready if each.offer is None]
    if computed:
        preflight.check_disk(*computed)
        quota.check(session, actor, classroom, len(computed))
        after_commit(session, fill_devices)
    return [_insert(session, actor, classroom, each) for each in ready]


def _insert(session: Session, actor: User, classroom: Classroom | None, ready: _Ready) -> Run:
    run = _new_run(session, actor, ready.submission, ready.checked)
    run.fingerprint = ready.mark
    run.classroom_id = classroom.id if classroom else None
    if ready.offer is not None:
        run.seed = ready.offer.seed
    lifecycle.insert_queued(session, run)
    session.add_all(each.row(run.id) for each in ready.checked.resources)
    if ready.offer is not None:
        taking.take(session, run, ready.offer)
    return run


def _new_run(session: Session, actor: User, submission: Submission, checked: Checked) -> Run:
    now = clock.now()
    seed = submission.seed
    return Run(
        id=new_id(),
        owner_id=actor.id,
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
        group_id=submission.group[0] if submission.group else None,
        group_place=submission.group[1] if submission.group else None,
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
