"""What a trainer is told about an attempt: its `params.json`, out of the rows."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.models import Attempt, Dataset, Device, LanguageModel, Run, RunResource, RunState
from app.runs import lifecycle, queries
from app.runs.preflight import parent_artifact
from app.runs.preflight.start import newest_of
from app.settings import get_settings
from labs import registry
from labs.contract import WHOLE_MODELS
from labs.runspec import Resource, RunSpec
from setup.engines import found_engines
from workers.hardware import GPU, cores


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed attempt."""

    run_id: UUID
    attempt: int
    run_dir: Path
    offset: int
    spec: RunSpec


def claim(session: Session, run_id: UUID, attempt: int, device: str, kind: str) -> Task:
    """Claim an attempt for this device and gather what its trainer must know.

    Raises:
        StaleAttempt: If it was claimed before, cancelled, or given to another device.
    """
    lifecycle.claim(session, run_id, attempt, device)
    run = session.scalars(
        select(Run)
        .where(Run.id == run_id)
        .options(joinedload(Run.base_model), joinedload(Run.dataset))
        .execution_options(populate_existing=True)
    ).one()
    row = session.get_one(Attempt, (run_id, attempt))
    run_dir = get_settings().run_dir(run_id)
    return Task(run_id, attempt, run_dir, row.events_offset, _spec(session, run, kind))


def _spec(session: Session, run: Run, kind: str) -> RunSpec:
    return RunSpec(
        run_id=str(run.id),
        attempt=run.attempt,
        lab=run.lab,
        stages=tuple(run.stages),
        params=run.params,
        seed=run.seed,
        device="cuda" if kind == GPU else "cpu",
        threads=_threads(session, run.device),
        memory_limit_bytes=run.memory_bytes or None,
        base_model=Resource(run.base_model.name, run.base_model.path),
        dataset=Resource(run.dataset.name, run.dataset.path),
        parent=_parent(session, run),
        serve_host=get_settings().serve_host,
        resources=_resources(session, run.id),
        engines=found_engines(get_settings().home),
    )


def _threads(session: Session, device: str | None) -> int:
    """An equal part of the cores for each run that is on this machine now."""
    host = select(Device.host).where(Device.name == device).scalar_subquery()
    here = select(Device.name).where(Device.host == host)
    live = select(func.count()).where(
        Run.device.in_(here), Run.state.in_([RunState.ASSIGNED, RunState.RUNNING])
    )
    return max(1, cores() // max(1, session.scalar(live) or 1))


def _parent(session: Session, run: Run) -> Resource | None:
    if run.parent_run_id is None:
        return None
    parent = session.get_one(Run, run.parent_run_id)
    path = parent_artifact(session, registry.get(run.lab), parent)
    assert path is not None, f"run {parent.id} was accepted as a parent and has no artifact for it"
    return Resource(parent.name, str(get_settings().run_dir(parent.id) / path))


def _resources(session: Session, run_id: UUID) -> dict[str, Resource]:
    """What the parameters of a run name beside its base model and dataset."""
    rows = session.scalars(select(RunResource).where(RunResource.run_id == run_id))
    return {row.name: _resource(session, row) for row in rows}


def _resource(session: Session, row: RunResource) -> Resource:
    if row.model_id is not None:
        model = session.get_one(LanguageModel, row.model_id)
        return Resource(model.name, model.path)
    if row.dataset_id is not None:
        dataset = session.get_one(Dataset, row.dataset_id)
        return Resource(dataset.name, dataset.path)
    used = session.get_one(Run, row.used_run_id)
    artifact = newest_of(queries.artifacts(session, used.id), WHOLE_MODELS)
    assert artifact is not None, f"run {used.id} was accepted as “{row.name}” and left no model"
    return Resource(used.name, str(get_settings().run_dir(used.id) / artifact.path))
