"""Groups as JSON: what sweeps and scoreboards have in common, and what a run says of its own."""

from typing import Any

from sqlalchemy.orm import Session

from app.groups.progress import Progress
from app.groups.views import address_of
from app.models import Run, RunGroup

Shape = dict[str, Any]


def group_json(group: RunGroup, progress: Progress) -> Shape:
    """A group as lists show it."""
    return {
        "id": group.id,
        "kind": group.kind,
        "name": group.name,
        "lab": group.lab,
        "owner": {"id": group.owner_id, "name": group.owner.name},
        "created_at": group.created_at,
        "cancelled_at": group.cancelled_at,
        "progress": {
            "total": progress.total,
            "over": progress.over,
            "states": dict(progress.states),
        },
        "links": group_links(group),
    }


def group_links(group: RunGroup) -> dict[str, str]:
    page = address_of(group)
    own = f"/api/v1{page}"
    return {"self": own, "page": page, "cancellation": f"{own}/cancellation"}


def group_of(session: Session, run: Run) -> Shape | None:
    """The group that a run was started with, and its place there."""
    group = session.get(RunGroup, run.group_id) if run.group_id else None
    if group is None:
        return None
    return {
        "id": group.id,
        "kind": group.kind,
        "name": group.name,
        "place": run.group_place,
        "links": group_links(group),
    }
