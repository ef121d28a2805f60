"""Every SELECT of groups for people; who sees a group is who sees its runs."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload

from app.access import visible, visible_owner
from app.errors import NotFound
from app.groups.progress import Progress
from app.i18n import N_
from app.models import GroupKind, Run, RunGroup, RunState, User


def get_group(
    session: Session, actor: User, group_id: UUID, kind: GroupKind | None = None
) -> RunGroup:
    """One group with its owner, of that kind if one is named; `NotFound` for anybody else's."""
    statement = _listed(actor).where(RunGroup.id == group_id)
    if kind is not None:
        statement = statement.where(RunGroup.kind == kind)
    group = session.scalar(statement)
    if group is None:
        raise NotFound(N_("There are no such runs."))
    return group


def list_groups(
    session: Session,
    actor: User,
    *,
    kind: GroupKind | None = None,
    owner: UUID | None = None,
    limit: int = 20,
) -> Sequence[RunGroup]:
    """The newest groups that the actor may see."""
    statement = _listed(actor)
    if kind is not None:
        statement = statement.where(RunGroup.kind == kind)
    if owner is not None:
        statement = statement.where(RunGroup.owner_id == owner)
    return session.scalars(statement.order_by(RunGroup.id.desc()).limit(limit)).all()


def group_runs(session: Session, actor: User, group: RunGroup) -> Sequence[Run]:
    """Its runs, in their places, with owner and inputs."""
    inputs = (joinedload(Run.owner), joinedload(Run.base_model), joinedload(Run.dataset))
    found = select(Run).where(visible(actor), Run.group_id == group.id).options(*inputs)
    return session.scalars(found.order_by(Run.group_place)).all()


def progress(session: Session, groups: Collection[RunGroup]) -> Mapping[UUID, Progress]:
    """How far each of these groups is, in one query."""
    ids = [group.id for group in groups]
    counted = select(Run.group_id, Run.state, func.count()).where(
        Run.group_id.in_(ids), Run.deleted_at.is_(None)
    )
    states: dict[UUID | None, dict[RunState, int]] = {each: {} for each in ids}
    for group_id, state, count in session.execute(counted.group_by(Run.group_id, Run.state)):
        states[group_id][state] = count
    return {each: Progress(states[each]) for each in ids}


def _listed(actor: User) -> Select[RunGroup]:
    """Groups whose runs were all deleted have nothing to show."""
    left = select(Run.id).where(Run.group_id == RunGroup.id, Run.deleted_at.is_(None))
    shown = select(RunGroup).where(visible_owner(actor, RunGroup.owner_id), left.exists())
    return shown.options(joinedload(RunGroup.owner))
