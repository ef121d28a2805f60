"""The same work is done once: a finished run's result is offered instead of computing it again.

Two runs are the same work when code, lab, stages, parameters, base model, rows and the artifact
they build upon are the same; the seed is compared beside. Whose run it was is told to nobody.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from app.access import classroom_of
from app.endpoints.standing import SERVE
from app.models import Artifact, Classroom, Dataset, Device, Run, RunResource, RunState, User
from app.runs import queries
from app.runs.preflight import Checked
from app.runs.preflight.stamps import stamp_of
from app.settings import get_settings
from labs import registry
from labs.contract import resource_kinds
from labs.published import read_manifest

Json = dict[str, Any]
# Finished runs whose files are looked at before giving up.
LOOKED_AT = 5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and when a result was measured; which run that was only where it is the person's own."""

    device: str
    measured_at: datetime
    seconds: float | None
    own_run: UUID | None = None
    own_name: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A finished run of the same work. `source` stays with us: it may be somebody else's."""

    source: UUID
    seed: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class SameWorkCard:
    """On the page of a run: what it could take over, or whence it was. Rendered by runs/_same_work.html."""

    offer: Offer | None = None
    origin: Origin | None = None


def fingerprint(checked: Checked) -> str:
    """sha256 of everything but the seed that decides a run's result.

    A base model counts by names, sizes and times of its files: reading gigabytes of weights at
    every submission would cost more than a model copied anew, which then counts as another.
    """
    decisive = {
        "code": registry.code_version(checked.lab.slug),
        "lab": checked.lab.slug,
        "stages": checked.stages,
        "params": _own_params(checked),
        "model": [checked.base_model.name, stamp_of(Path(checked.base_model.path))],
        "dataset": checked.dataset.sha256,
        "parent": checked.start.parent.artifact.sha256 if checked.start.parent else None,
        "resources": {each.parameter: each.mark for each in checked.resources},
    }
    if checked.lab.slug == SERVE:
        decisive["once"] = uuid4().hex  # nobody can take over an endpoint that was open
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _own_params(checked: Checked) -> Json:
    """The parameters but those that name a model or a dataset, which count by what they are."""
    named = resource_kinds(checked.lab.params)
    stored = checked.params.model_dump(mode="json")
    return {name: value for name, value in stored.items() if name not in named}


def find(
    session: Session, owner: User, mark: str, seed: int | None, dataset: Dataset
) -> Offer | None:
    """The best finished run of the same work that this person may be offered.

    Args:
        mark: A fingerprint.
        seed: The seed asked for; None takes any.
        dataset: The rows this person may use; another's upload of them under another name is
            not offered, because the name stands in what the run left.
    """
    classroom = _classroom(session, owner)
    if classroom is not None and not classroom.offers_same_work:
        return None
    statement = _sources(mark, seed, owner, classroom, dataset)
    for run in session.scalars(statement.limit(LOOKED_AT)):
        if files_hold(run.id, queries.artifacts(session, run.id)):
            return Offer(run.id, run.seed, origin_of(session, owner, run))
    return None


def done(session: Session, marks: Collection[str]) -> set[str]:
    """Which of these fingerprints any finished run has: `find` has nothing for the others."""
    found = select(Run.fingerprint).where(
        Run.fingerprint.in_(marks), Run.state == RunState.SUCCEEDED, Run.deleted_at.is_(None)
    )
    return {mark for mark in session.scalars(found.distinct()) if mark is not None}


def offer_for(session: Session, run: Run) -> Offer | None:
    """What a run that waits, and has not been on a device yet, could take over."""
    if run.state is not RunState.QUEUED or run.attempt or run.fingerprint is None:
        return None
    owner = session.get_one(User, run.owner_id)
    dataset = session.get_one(Dataset, run.dataset_id)
    return find(session, owner, run.fingerprint, run.seed, dataset)


def card(session: Session, actor: User, run: Run) -> SameWorkCard:
    """What the page of a run says about same work, to its owner or to who may see it."""
    if run.same_as_id is not None:
        return SameWorkCard(origin=origin_of(session, actor, run))
    if actor.id != run.owner_id:
        return SameWorkCard()
    return SameWorkCard(offer=offer_for(session, run))


def origin_of(session: Session, reader: User, run: Run) -> Origin:
    """Where the result of a run was measured: by itself, or by the run it took it from."""
    measured = session.get_one(Run, run.same_as_id) if run.same_as_id else run
    device = session.get(Device, measured.device) if measured.device else None
    started, finished = measured.started_at, measured.finished_at
    assert finished is not None, f"run {measured.id} succeeded without an end"
    is_own = measured.owner_id == reader.id and measured.deleted_at is None
    return Origin(
        device=device.title if device else measured.device or "",
        measured_at=finished,
        seconds=(finished - started).total_seconds() if started else None,
        own_run=measured.id if is_own else None,
        own_name=measured.name if is_own else "",
    )


def files_hold(run_id: UUID, artifacts: Sequence[Artifact]) -> bool:
    """Whether everything the rows promise lies on the disk, by manifest and size."""
    folder = get_settings().run_dir(run_id)
    return folder.is_dir() and all(_holds(folder / each.path, each) for each in artifacts)


def _classroom(session: Session, person: User) -> Classroom | None:
    identity = classroom_of(session, person)
    return session.get(Classroom, identity) if identity else None


def _sources(
    mark: str, seed: int | None, owner: User, classroom: Classroom | None, dataset: Dataset
) -> Select[Run]:
    """Own runs first, then those that were measured themselves, newest first."""
    own = Run.owner_id == owner.id
    statement = (
        select(Run)
        .join(Dataset, Dataset.id == Run.dataset_id)
        .where(
            Run.fingerprint == mark,
            Run.state == RunState.SUCCEEDED,
            Run.deleted_at.is_(None),
            Dataset.sha256 == dataset.sha256,
            or_(own, _shared(classroom, dataset)) if classroom else own,
        )
        .order_by(own.desc(), Run.same_as_id.is_not(None), Run.id.desc())
    )
    return statement if seed is None else statement.where(Run.seed == seed)


def _shared(classroom: Classroom, dataset: Dataset) -> ColumnElement[bool]:
    """Others' runs of the class, where nothing they left says a name that is theirs."""
    own_rows = select(Dataset.id).where(Dataset.owner_id.is_not(None)).correlate(None)
    theirs = select(RunResource.run_id).where(
        RunResource.run_id == Run.id,
        or_(RunResource.used_run_id.is_not(None), RunResource.dataset_id.in_(own_rows)),
    )
    return and_(
        Run.classroom_id == classroom.id,
        Run.parent_run_id.is_(None),
        ~theirs.exists(),
        Dataset.name == dataset.name,
    )


def _holds(folder: Path, artifact: Artifact) -> bool:
    manifest: dict[str, Any] | None = read_manifest(folder)
    if manifest is None or manifest.get("sha256") != artifact.sha256:
        return False
    try:
        files = manifest["files"]
        return all((folder / file["path"]).stat().st_size == file["bytes"] for file in files)
    except OSError:
        return False
